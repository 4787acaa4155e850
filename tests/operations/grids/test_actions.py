"""Grids: what they ask for, what they cost, one wish one grid, votes that say what they say and no more."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import delete, func, select, update

from limner import Studio
from limner.errors import ConsentNeeded, InputRefused, NotFound, SpendingRefused
from limner.generation.local import LocalGenerator
from limner.operations.grids import voting
from limner.records import Grid
from limner.settings import Settings
from limner.store.models import GenerationRow, ImageRow, JobRow, now
from limner.store.web_models import GridRow, VoteRow
from limner.types import Estimate, JobState
from tests.operations.loras_made import TRAINING, add_training, draw

WISH = "0123456789abcdef"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", start_worker=False)


@pytest.fixture
def studio(settings: Settings) -> Iterator[Studio]:
    with Studio(settings=settings) as made:
        made.subjects.add("zib", kind="character", trigger="zibbo")
        add_training(made)
        yield made


def compare(studio: Studio, **more: Any) -> Grid:
    """Three checkpoints at two strengths, with two prompts."""
    options: dict[str, Any] = {
        "x": ("checkpoint", [10, 20, 30]),
        "y": ("scale", [0.6, 1]),
        "training": TRAINING,
        "seed": 5,
        "generator": "local",
        "width": 64,
        "height": 64,
        "steps": 1,
        **more,
    }
    return studio.grids.start(["a photo of {trigger}", "{trigger} at sea"], **options)


def count_of(studio: Studio, row: type[Any]) -> int:
    with studio._workspace.database.read() as session:
        return session.scalar(select(func.count()).select_from(row)) or 0


def test_every_cell_is_a_generation_that_differs_only_along_the_axes(studio: Studio) -> None:
    grid = compare(studio)
    assert (len(grid.cells), len(grid.cells[0]), len(grid.generations)) == (2, 3, 12)
    assert grid.state is JobState.WAITING
    assert {(made.seed, made.steps, made.width) for made in grid.generations} == {(5, 1, 64)}
    cell = grid.cells[1][2]
    assert (cell.x, cell.y) == (30, 1.0)
    assert [made.prompt for made in cell.generations if made] == ["a photo of zibbo", "zibbo at sea"]
    assert cell.generations[0] is not None
    assert [(use["name"], use["scale"]) for use in cell.generations[0].loras] == [(f"{TRAINING}#30", 1.0)]
    assert grid.prompts == ("a photo of {trigger}", "{trigger} at sea")
    assert len(studio.grids.jobs(grid.id)) == 12
    assert [found.id for found in studio.grids.list(TRAINING)] == [grid.id]
    assert studio.grids.grid(grid.id.removeprefix("grid_")[:6]).id == grid.id


@pytest.mark.parametrize(
    ("x", "y", "field", "values"),
    [
        (("steps", [1, 2]), None, "steps", [1, 2]),
        (("guidance", ["1.5", 3]), None, "guidance", [1.5, 3.0]),
        (("seed", [7, "9"]), None, "seed", [7, 9]),
        (("prompt", ["a cat", "a dog"]), None, "prompt", ["a cat", "a dog"]),
    ],
)
def test_each_axis_sets_its_own_option(studio: Studio, x: Any, y: Any, field: str, values: list[Any]) -> None:
    grid = studio.grids.start("zibbo", x=x, y=y, generator="local")
    assert [getattr(made, field) for made in grid.generations] == values
    others = {"steps", "guidance", "seed", "prompt"} - {field}
    assert all(len({getattr(made, other) for made in grid.generations}) == 1 for other in others)


def test_versions_are_an_axis_and_the_second_lora_stays(studio: Studio) -> None:
    studio.trainings.pick(TRAINING, 10)
    studio.trainings.pick(TRAINING, 20)
    grid = studio.grids.start(
        "x", x=("lora", ["zib@v1", "zib@v2"]), y=("scale", [0.5, 1]), loras=["zib@v1:0.9", f"{TRAINING}#30:0.3"]
    )
    made = [cell.generations[0] for row in grid.cells for cell in row]
    assert [[(use["name"], use["scale"]) for use in one.loras] for one in made if one] == [
        [(name, scale), (f"{TRAINING}#30", 0.3)] for scale in (0.5, 1.0) for name in ("zib@v1", "zib@v2")
    ]


@pytest.mark.parametrize(
    ("prompt", "options", "words"),
    [
        ("x", {"x": ("size", [1])}, "no axis 'size'"),
        ("x", {"x": ("steps", [])}, "has no values"),
        ("x", {"x": ("steps", ["many"])}, "'many' is no value"),
        ("x", {"x": ("steps", [1.5])}, "'1.5' is no value"),
        ("x", {"x": ("scale", ["nan"])}, "'nan' is no value"),
        ("x", {"x": ("seed", [-1])}, "'-1' is no value"),
        ("x", {"x": ("seed", range(65))}, "65 cells; 64 is the most"),
        ("x", {"x": ("seed", range(9)), "y": ("steps", range(1, 9))}, "72 cells"),
        ("x", {"x": ("steps", [1]), "y": ("steps", [2])}, "Both axes are 'steps'"),
        ("x", {"x": ("checkpoint", [1])}, "which training"),
        ("x", {"x": ("checkpoint", [10]), "y": ("lora", ["zib@v1"]), "training": TRAINING}, "cannot differ"),
        ("x", {"x": ("scale", [1])}, "which lora"),
        ("  ", {"x": ("seed", [1])}, "needs a prompt"),
        ("x", {"x": ("seed", [1]), "wish": "short"}, "form's id"),
        ("x", {"x": ("seed", [1]), "count": 1001}, "1001 pictures"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(
    studio: Studio, prompt: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputRefused, match=words):
        studio.grids.start(prompt, **options)
    assert (count_of(studio, GridRow), count_of(studio, GenerationRow), count_of(studio, JobRow)) == (0, 0, 0)


def test_one_cell_that_cannot_be_drawn_stops_all(studio: Studio) -> None:
    with pytest.raises(NotFound, match="no checkpoint of step 15"):
        compare(studio, x=("checkpoint", [10, 15]))
    with pytest.raises(InputRefused):
        compare(studio, x=("steps", [1, 999]), y=None, loras=[f"{TRAINING}#10"])
    assert (count_of(studio, GridRow), count_of(studio, GenerationRow), count_of(studio, JobRow)) == (0, 0, 0)


def test_the_same_wish_is_one_grid(studio: Studio) -> None:
    first = compare(studio, wish=WISH)
    again = compare(studio, wish=WISH)
    assert again.id == first.id
    assert compare(studio, wish=WISH[::-1]).id != first.id
    assert count_of(studio, JobRow) == 24


def test_two_submits_at_the_same_moment_are_one_grid(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    from limner.operations.grids.actions import Grids

    first = compare(studio, wish=WISH)
    real = Grids._known
    asked: list[str] = []

    def too_early(self: Grids, name: str) -> Grid | None:
        asked.append(name)
        return None if len(asked) == 1 else real(self, name)

    monkeypatch.setattr(Grids, "_known", too_early)
    assert compare(studio, wish=WISH).id == first.id
    assert len(asked) == 2
    assert count_of(studio, JobRow) == 12


def test_the_sum_is_asked_about_and_held_against_the_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalGenerator, "estimate", lambda self, order: Estimate(Decimal("0.10") * order.count))
    settings = Settings(
        home=tmp_path / "home", start_worker=False, consent_above=Decimal("0.5"), budget_total=Decimal("1.3")
    )
    with Studio(settings=settings) as studio:
        studio.subjects.add("zib", kind="character", trigger="zibbo")
        add_training(studio)
        options: dict[str, Any] = {"x": ("checkpoint", [10, 20, 30]), "y": ("scale", [0.6, 1]), "training": TRAINING}
        plan = studio.grids.plan("x", generator="local", count=2, **options)
        assert (plan.generations, plan.pictures, plan.what_if.estimate.amount) == (6, 12, Decimal("1.20"))
        assert plan.what_if.possible
        with pytest.raises(ConsentNeeded, match=r"1\.20"):
            studio.grids.start("x", generator="local", count=2, **options)
        assert count_of(studio, JobRow) == 0
        with pytest.raises(SpendingRefused):
            studio.grids.start("x", generator="local", count=3, yes=True, **options)
        assert len(studio.grids.start("x", generator="local", count=2, yes=True, **options).generations) == 6


def test_grids_are_listed_part_by_part_and_by_a_cell(studio: Studio) -> None:
    made = [studio.grids.start("x", x=("seed", [1, 2]), steps=1, generator="local") for _ in range(5)]
    first = studio.grids.list(limit=2)
    assert [one.id for one in first] == [made[4].id, made[3].id]
    older = studio.grids.list(limit=9, before=(first[-1].created_at, first[-1].id))
    assert [one.id for one in older] == [made[2].id, made[1].id, made[0].id]
    assert [one.id for one in studio.grids.list(generation=made[2].generations[1].id)] == [made[2].id]
    assert studio.grids.list(generation="generation_0") == ()
    assert studio.grids.list(limit=1) == (studio.grids.grid(made[4].id),)


def test_grids_of_one_moment_are_each_listed_once(studio: Studio) -> None:
    made = {studio.grids.start("x", x=("seed", [1, 2]), steps=1, generator="local").id for _ in range(4)}
    with studio._workspace.database.write() as session:
        session.execute(update(GridRow).values(created_at=now()))
    walked, before = [], None
    while part := studio.grids.list(limit=1, before=before):
        walked.append(part[0].id)
        before = (part[0].created_at, part[0].id)
    assert sorted(walked) == sorted(made)


def test_the_price_is_the_plans_and_asks_nobody(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalGenerator, "estimate", lambda self, order: Estimate(Decimal("0.10")))
    options: dict[str, Any] = {"x": ("steps", [1, 2, 3]), "generator": "local", "count": 2}
    plan = studio.grids.plan("x", **options)
    monkeypatch.delattr(LocalGenerator, "plan")
    pictures, estimate = studio.grids.price("x", **options)
    assert (pictures, estimate.amount) == (plan.pictures, plan.what_if.estimate.amount) == (6, Decimal("0.30"))
    with pytest.raises(InputRefused, match="999"):
        studio.grids.price("x", x=("steps", [1, 999]), generator="local")


def test_a_plan_says_what_stands_in_the_way_of_any_cell(studio: Studio) -> None:
    plan = studio.grids.plan("x", x=("steps", [1, 999]), generator="local")
    assert not plan.what_if.possible
    assert any("999" in found.message for found in plan.what_if.plans[0].refusals)
    assert count_of(studio, GridRow) == 0


def test_cancelling_stops_all_that_have_not_ended(studio: Studio) -> None:
    grid = compare(studio)
    draw(studio, grid, only=[grid.generations[0].id])
    assert studio.grids.grid(grid.id).state is JobState.RUNNING
    studio.grids.cancel(grid.id)
    with studio._workspace.database.read() as session:
        wishes = session.scalars(select(JobRow.cancel_requested)).all()
    assert sorted(wishes) == [False] + [True] * 11


# --- votes ------------------------------------------------------------------------------------------------------------


def values(grid: Grid) -> dict[int, tuple[Any, Any]]:
    return {image.id: (cell.x, cell.y) for row in grid.cells for cell in row for image in cell.images}


def test_a_pair_differs_in_what_is_compared_and_in_nothing_else(studio: Studio) -> None:
    grid = draw(studio, compare(studio, y=("seed", [1, 2]), count=2))
    at = values(grid)
    seen = set()
    while (pair := studio.grids.next_pair(grid.id)) is not None:
        (left, right) = at[pair.left.id], at[pair.right.id]
        assert left[0] != right[0]
        assert (left[1], pair.left.prompt, pair.left.seed) == (right[1], pair.right.prompt, pair.right.seed)
        assert pair.left_label == f"step {left[0]}", "the seed only repeats the comparison"
        seen.add(frozenset((pair.left.id, pair.right.id)))
        studio.grids.vote(grid.id, pair.left.id, pair.right.id)
    # 3 pairs of checkpoints, 2 seeds, 2 prompts, 2 pictures of each
    assert len(seen) == 24


def test_every_candidate_is_shown_before_close_races(studio: Studio) -> None:
    grid = draw(studio, compare(studio))
    met: dict[str, int] = {}
    for _ in range(3):
        pair = studio.grids.next_pair(grid.id)
        assert pair is not None
        assert studio.grids.next_pair(grid.id) == pair, "the same lot however often it is asked"
        for label in (pair.left_label, pair.right_label):
            met[label] = met.get(label, 0) + 1
        studio.grids.vote(grid.id, pair.left.id, pair.right.id)
    assert len(met) == 6
    assert set(met.values()) == {1}


def test_a_skipped_pair_does_not_come_again(studio: Studio) -> None:
    grid = draw(studio, compare(studio, y=None, x=("checkpoint", [10, 20]), loras=[]))
    first = studio.grids.next_pair(grid.id)
    assert first is not None
    second = studio.grids.next_pair(grid.id, skipped=[(first.right.id, first.left.id)])
    assert second is not None
    assert {second.left.id, second.right.id}.isdisjoint({first.left.id, first.right.id})
    both = [(first.left.id, first.right.id), (second.left.id, second.right.id)]
    assert studio.grids.next_pair(grid.id, skipped=both) is None


def test_the_better_one_wins_and_few_votes_decide_nothing(studio: Studio) -> None:
    grid = draw(studio, compare(studio))
    assert all(not ranking.decided and ranking.votes == 0 for ranking in studio.grids.ranking(grid.id))
    at = values(grid)
    decided_after = 0
    for number in range(1, 60):
        pair = studio.grids.next_pair(grid.id)
        if pair is None:
            break
        one, other = at[pair.left.id], at[pair.right.id]
        better = pair.left.id if (one[0] == 20, one[1]) > (other[0] == 20, other[1]) else pair.right.id
        worse = pair.right.id if better == pair.left.id else pair.left.id
        studio.grids.vote(grid.id, better, worse)
        by_step = next(ranking for ranking in studio.grids.ranking(grid.id) if ranking.axis == "checkpoint")
        if by_step.decided:
            decided_after = number
            break
    assert by_step.standings[0].label == "step 20"
    assert decided_after > 4
    axes = [ranking.axis for ranking in studio.grids.ranking(grid.id)]
    assert axes == ["", "checkpoint", "scale"]
    assert len(studio.grids.ranking(grid.id)[0].standings) == 6


@pytest.mark.parametrize(
    ("wins", "votes", "low", "high"),
    # from the formula of Wilson (1927) at z = 1.959964, worked out by hand with 30 digits
    [(0, 0, 0.0, 1.0), (5, 10, 0.236593, 0.763407), (10, 10, 0.722467, 1.0), (1, 4, 0.045587, 0.699358)],
)
def test_wilsons_interval(wins: int, votes: int, low: float, high: float) -> None:
    assert voting._wilson(wins, votes) == pytest.approx((low, high), abs=1e-5)


def test_votes_are_taken_back_one_by_one(studio: Studio) -> None:
    grid = draw(studio, compare(studio))
    one, two, three = (image.id for image in grid.images[:3])
    studio.grids.vote(grid.id, one, two)
    made = studio.grids.vote(grid.id, three, two)
    assert studio.grids.undo_vote(grid.id) == made
    assert [(vote.winner.id, vote.loser.id) for vote in studio.grids.votes(grid.id)] == [(one, two)]
    assert studio.grids.undo_vote(grid.id) is not None
    assert studio.grids.undo_vote(grid.id) is None


def test_the_same_vote_sent_twice_counts_once(studio: Studio) -> None:
    grid = draw(studio, compare(studio))
    one, two, three = (image.id for image in grid.images[:3])
    for _ in range(2):
        studio.grids.vote(grid.id, one, two, after=0)
    # a double press of two keys does not turn the vote round either
    studio.grids.vote(grid.id, two, one, after=0)
    assert studio.grids.grid(grid.id).votes == 1
    studio.grids.vote(grid.id, three, two, after=0)  # another tab's pair
    studio.grids.vote(grid.id, one, two, after=2)  # the same pair, meant
    assert studio.grids.grid(grid.id).votes == 3


def test_votes_are_for_pictures_of_the_grid(studio: Studio) -> None:
    grid = draw(studio, compare(studio))
    other = draw(studio, compare(studio))
    ours = grid.images[0].id
    with pytest.raises(NotFound, match="not in this grid"):
        studio.grids.vote(grid.id, ours, other.images[0].id)
    with pytest.raises(InputRefused):
        studio.grids.vote(grid.id, ours, ours)
    assert studio.grids.grid(grid.id).votes == 0


# --- what goes away ---------------------------------------------------------------------------------------------------


def test_a_picture_that_is_gone_leaves_a_gap_and_takes_its_votes(studio: Studio) -> None:
    grid = draw(studio, compare(studio))
    first = grid.images[0]
    studio.grids.vote(grid.id, first.id, grid.images[1].id)
    with studio._workspace.database.write() as session:
        session.execute(delete(ImageRow).where(ImageRow.generation == first.generation))
        session.execute(delete(GenerationRow).where(GenerationRow.id == first.generation))
    found = studio.grids.grid(grid.id)
    assert found.cells[0][0].generations[0] is None
    assert (len(found.images), found.expected, found.votes) == (11, 11, 0)
    assert studio.grids.next_pair(grid.id) is not None


def test_erasing_a_subject_takes_its_grids(studio: Studio) -> None:
    studio.trainings.pick(TRAINING, 10)
    studio.grids.start("{trigger} in secret", x=("seed", [1, 2]), loras=["zib@v1"], generator="local")
    kept = studio.grids.start("a cat", x=("seed", [1, 2]), generator="local")
    with studio._workspace.database.write() as session:
        session.execute(delete(JobRow))
    studio.erasure.erase("zib")
    assert [grid.id for grid in studio.grids.list()] == [kept.id]


def test_a_grid_is_forgotten_and_its_pictures_stay(studio: Studio) -> None:
    grid = draw(studio, compare(studio))
    studio.grids.vote(grid.id, grid.images[0].id, grid.images[1].id)
    studio.grids.delete(grid.id)
    with pytest.raises(NotFound):
        studio.grids.grid(grid.id)
    assert (count_of(studio, VoteRow), count_of(studio, ImageRow)) == (0, 12)


def test_another_users_grid_is_not_there(studio: Studio) -> None:
    studio.members.add("ann", "a long enough password")
    studio.members.add("bob", "another long password")
    mine, theirs = studio.owned_by("ann"), studio.owned_by("bob")
    grid = theirs.grids.start("x", x=("seed", [1, 2]), generator="local", wish=WISH)
    with pytest.raises(NotFound):
        mine.grids.grid(grid.id)
    assert mine.grids.list() == ()
    assert mine.grids.start("x", x=("seed", [1, 2]), generator="local", wish=WISH).id != grid.id


# --- files ------------------------------------------------------------------------------------------------------------


def test_the_sheet_shows_every_cell_and_says_that_it_is_ai(studio: Studio, tmp_path: Path) -> None:
    grid = compare(studio)
    path = studio.grids.sheet(grid.id, tmp_path / "empty.png")
    with Image.open(path) as empty:
        size, before = empty.size, empty.convert("RGB").getcolors(1 << 24)
    grid = draw(studio, grid)
    path = studio.grids.sheet(grid.id, tmp_path / "sheet.png")
    with Image.open(path) as full:
        assert full.size == size
        colours = {colour for _, colour in full.convert("RGB").getcolors(1 << 24)}
    drawn = set()
    for image in grid.images:
        with Image.open(image.path) as picture:
            drawn.add(picture.convert("RGB").getpixel((0, 0)))
    assert drawn <= colours
    assert not drawn <= {colour for _, colour in before or []}
    with Image.open(path) as full:
        assert "trainedAlgorithmicMedia" in full.text["XML:com.adobe.xmp"]


def test_the_zip_has_every_picture_by_its_cell(studio: Studio, tmp_path: Path) -> None:
    grid = draw(studio, studio.grids.start("=1+1", x=("prompt", ["../../etc", "=cmd()"]), generator="local"))
    path = studio.grids.archive(grid.id, tmp_path / "grid.zip")
    with zipfile.ZipFile(path) as packed:
        names = packed.namelist()
        rows = list(csv.reader(io.StringIO(packed.read("grid.csv").decode())))
        first = packed.read(rows[1][0])
    assert [name[:14] for name in names[:2]] == ["row01-column01", "row01-column02"]
    assert not any(".." in name or "/" in name for name in names)
    assert first == grid.images[0].path.read_bytes()
    assert rows[2][1] == "'=cmd()", "no cell is taken for a formula"
