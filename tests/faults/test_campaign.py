"""The short form of ``python -m tests.faults.campaign``, and that its judge sees every broken promise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from limner import Studio
from limner.settings import Settings
from limner.stand_ins.counting import Paid
from limner.stand_ins.rehearsal import TOKENS
from tests.faults.campaign import Campaign, Life, campaign
from tests.faults.judging import broken_promises, is_well_said
from tests.faults.scenarios import ROUTES, Route, Scenario, draw_scenarios, pattern_of, points_of
from tests.faults.states import STATES
from tests.faults.table import page_with
from tests.faults.world import KILLS, Kill
from tests.servers.contracts import Validated
from tests.servers.faults import KINDS, Fault

REPLICATE, FAL = ROUTES[0], ROUTES[2]


@pytest.fixture(scope="module")
def running() -> Iterator[Campaign]:
    with campaign() as made:
        yield made


@pytest.fixture(scope="module")
def ended(running: Campaign) -> Iterator[tuple[Life, dict[str, Validated]]]:
    """A run that was left alone, every request of it checked against what the vendors publish."""
    checks: dict[str, Validated] = {}

    def checked(vendor: str, app: Any) -> Any:
        under = {"replicate": "/v1", "together": "/v1", "huggingface": ""}
        if vendor not in under:
            return app
        # the description of the Hub would have every download be one by Xet
        known = ("ModelInfo", "'application/vnd.xet-fileinfo+json' was expected")
        checks[vendor] = Validated(app, vendor, under=under[vendor], except_for=known)
        return checks[vendor]

    home = running.folder / "whole"
    shutil.copytree(running.template, home)
    life = Life(running, home, Scenario(0, REPLICATE), checked=checked)
    life.live()
    life.end()
    yield life, checks


def test_a_run_left_alone_keeps_all_promises(ended: tuple[Life, dict[str, Validated]]) -> None:
    life, _ = ended
    assert life.result.problems == []
    assert life.result.failures == []
    assert sorted(life.world.paid()) == [("replicate", "training"), ("together", "picture"), ("together", "picture")]


def test_its_requests_are_as_the_vendors_publish_them(ended: tuple[Life, dict[str, Validated]]) -> None:
    _, checks = ended
    for vendor, check in checks.items():
        requests = [one for one in check.violations if one.part == "request"]
        assert requests == [], vendor
        assert check.seen, vendor
    assert ("post", "/v1/images/generations") in checks["together"].seen
    assert any(path.endswith("/trainings") for _, path in checks["replicate"].seen)
    assert any("/commit/" in path for _, path in checks["huggingface"].seen)
    assert all("/delivery/" in path for _, path in checks["replicate"].unknown)


ROUTE_FAULTS = [
    (REPLICATE, "replicate", Fault("lost-reset", "POST", "/trainings$")),
    (REPLICATE, "together", Fault("lost-html-502", "POST", "generations$")),
    (REPLICATE, "huggingface", Fault("lost-hang", "POST", "/commit/")),
    (FAL, "fal", Fault("truncated", "GET", r"\.safetensors$")),
    (FAL, "fal", Fault("revoked", "GET", "/status$", times=0)),
]


@pytest.mark.parametrize(("route", "vendor", "fault"), ROUTE_FAULTS, ids=lambda one: getattr(one, "kind", None))
def test_faults_on_the_way(running: Campaign, route: Route, vendor: str, fault: Fault) -> None:
    number = 1000 + ROUTE_FAULTS.index((route, vendor, fault))
    result = running.run(Scenario(number, route, faults=((vendor, fault),)))
    assert result.struck
    assert result.problems == []


@pytest.mark.parametrize("kind", KILLS)
def test_a_worker_killed_while_it_pays(running: Campaign, kind: str) -> None:
    kills = (
        ("replicate", Kill(kind, "POST", "/trainings$")),
        ("huggingface", Kill(kind, "POST", "/commit/")),
        ("together", Kill(kind, "POST", "generations$")),
    )
    result = running.run(Scenario(2000 + [*KILLS].index(kind), REPLICATE, kills=kills))
    assert result.deaths == 3
    assert result.problems == []


@pytest.mark.parametrize("name", ["training-failed", "odd-tar", "weights-kohya", "private-ignored-repo", "repo-gated"])
def test_vendors_in_a_bad_state(running: Campaign, name: str) -> None:
    number, state = next((number, one) for number, one in enumerate(STATES) if one.name == name)
    result = running.run(Scenario(3000 + number, REPLICATE, states=(state,)))
    assert result.problems == []


def put(part: Any, name: str, value: Any) -> Callable[[], None]:
    """Change an attribute; gives what changes it back."""
    before = getattr(part, name)
    setattr(part, name, value)
    return lambda: setattr(part, name, before)


def recommit(world: Any) -> Callable[[], None]:
    [repo] = world.huggingface.repos.values()
    before = dict(repo.branches)
    weights = repo.keep(b"other weights", lfs=True)
    repo.commit({**repo.main.files, "pytorch_lora_weights.safetensors": weights}, summary="", author="x")
    return lambda: repo.branches.update(before)


def note(home: Path, words: str) -> Callable[[], None]:
    path = home / "note.txt"
    path.write_text(words)
    return path.unlink


def damage(path: Path) -> Callable[[], None]:
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:-1] + b"?")
    return lambda: path.write_bytes(data) and None


def lora_of(life: Life) -> Path:
    with Studio(settings=Settings(home=life.home, start_worker=False)) as studio:
        return studio.loras.get("zib").path


AGAIN = [Paid("training", "again", 0.0)]
DRAWN = [Paid("picture", "again", 0.0)]
SABOTAGE: dict[str, tuple[Callable[[Life], Callable[[], Any]], str]] = {
    "a second training": (
        lambda life: put(life.world.replicate, "paid", life.world.replicate.paid + AGAIN),
        "2 trainings were paid, 1 may be",
    ),
    "a third picture": (
        lambda life: put(life.world.together, "paid", life.world.together.paid + DRAWN),
        "3 pictures were paid, 2 may be",
    ),
    "no payment": (lambda life: put(life.world.together, "paid", []), "only 0 pictures were paid"),
    "another photo": (lambda life: put(life.expected, "photos", ("f" * 64,)), "4 photos are left of 1"),
    "a second repo": (
        lambda life: put(life.world.huggingface, "repos", {**life.world.huggingface.repos, "me/other": None}),
        "there are 2 repos instead of one",
    ),
    "the weights twice": (lambda life: recommit(life.world), "the weights came 2 times"),
    "a token on disk": (lambda life: note(life.home, TOKENS["HF_TOKEN"]), "the token HF_TOKEN is in note.txt"),
    "photos left": (lambda life: put(life.world.replicate, "files", {"f": None}), "1 files with photos are left"),
    "more pictures": (lambda life: put(life.expected, "pictures", 3), "there are 2 pictures instead of 3"),
    "a damaged lora": (lambda life: damage(lora_of(life)), "the lora zib@v1 is damaged"),
}


@pytest.mark.parametrize("name", SABOTAGE)
def test_the_judge_sees_a_broken_promise(ended: tuple[Life, dict[str, Validated]], name: str) -> None:
    life, _ = ended
    spoil, words = SABOTAGE[name]
    mend = spoil(life)
    try:
        found = broken_promises(life.home, life.world, life.job, life.expected)
    finally:
        mend()
    assert any(words in problem for problem in found), found
    assert broken_promises(life.home, life.world, life.job, life.expected) == []


def test_the_judge_reads_errors() -> None:
    good = {"code": "vendor-busy", "message": "fal is overloaded.", "remedy": "Try again later."}
    assert is_well_said(good) == []
    for change in (
        {"remedy": ""},
        {"message": ""},
        {"message": "fal says <html><body>Bad gateway</body></html>."},
        {"message": "It failed: Traceback (most recent call last)."},
        {"message": "ConnectError('no route')"},
        {"message": f"The token {TOKENS['FAL_KEY']} is wrong."},
        {"message": "one\ntwo"},
        {"code": "unexpected"},
    ):
        assert is_well_said({**good, **change}), change


def test_scenarios_cover_every_fault_and_are_the_same_each_time() -> None:
    requests = [(vendor, "GET", f"/{vendor}/{number}") for vendor in ("fal", "together") for number in range(3)]
    points = {route: points_of(requests) for route in ROUTES}
    drawn = draw_scenarios(points, 300)
    assert [scenario.kinds for scenario in drawn] == [scenario.kinds for scenario in draw_scenarios(points, 300)]
    kinds = {kind for scenario in drawn for kind in scenario.kinds}
    assert kinds >= set(KINDS) - {"flipped", "edited", "slow"}
    assert kinds >= set(KILLS)
    assert kinds >= {state.name for state in STATES}


def test_patterns_stand_for_any_id() -> None:
    one = pattern_of("/v1/trainings/kuvs7auutwhoinfqi5nmmuzkky/cancel")
    assert one == "^/v1/trainings/[^/]+/cancel$"
    assert pattern_of("/api/models/rehearsal/zib-lora/revision/main").endswith("zib\\-lora/revision/main$")
    assert (
        pattern_of("/cdn/1b957a8b/LeK9cvjdLI_fFvJh-uKqYA_lora.safetensors") == "^/cdn/[^/]+/[^/]+_lora\\.safetensors$"
    )
    for name in ("flux2-random-trainer", "limner-tiny-trainer", "requests", "payloads", "feedback", "generations"):
        assert "[^/]" not in pattern_of(f"/{name}")


def test_the_page(ended: tuple[Life, dict[str, Validated]], tmp_path: Path) -> None:
    life, _ = ended
    words = page_with("# Faults\n", [life.result])
    assert "1 runs on 1 routes" in words
    assert "| replicate → huggingface → together | 1 | 0 | 0 |" in words
    assert str(tmp_path) not in words
