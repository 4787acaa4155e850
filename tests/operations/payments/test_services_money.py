"""Money on the way through the services: asked before, kept to budgets, shown after, and nothing sent by what-if."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from limner.cli.main import run
from limner.errors import ConsentNeeded, SpendingRefused
from limner.stand_ins.rehearsal import TOKENS
from limner.types import JobState
from tests.servers.quick_engine import quick_lora
from tests.servers.services_bench import SMALL, TINY, ServicesBench, open_bench

VENDORS = ("replicate", "fal", "huggingface", "together")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicesBench]:
    with open_bench(tmp_path, monkeypatch) as opened:
        yield opened


@pytest.fixture
def photographed(bench: ServicesBench) -> ServicesBench:
    """A bench whose subject zib has photos."""
    bench.run(bench.studio.photos.add(bench.subject(), [bench.photos]))
    return bench


def published(bench: ServicesBench, slug: str = "ink") -> str:
    name = bench.import_lora(slug, quick_lora("limner-tiny", 4, slug.encode()))
    bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="public"))
    for vendor in VENDORS:
        bench.heard[vendor].requests.clear()
    return name


def nothing_sent(bench: ServicesBench) -> None:
    assert bench.paid == {}
    assert [path for vendor in VENDORS for path in bench.posts(vendor)] == []
    assert bench.vendors.replicate.files == {}
    assert bench.vendors.fal.files.stored == {}
    assert bench.studio.payments.costs().entries == ()


def generate(bench: ServicesBench, name: str, **options: Any) -> Any:
    given = {"loras": [name], "generator": "together", "count": 10, **SMALL, **options}
    return bench.studio.generate("a drawing of {trigger}", **given)


def test_what_costs_more_is_asked_about_before_anything_is_sent(photographed: ServicesBench) -> None:
    bench = photographed
    with pytest.raises(ConsentNeeded, match=r"training is (about|perhaps) \$\d") as question:
        bench.studio.train("zib", trainer="replicate", **TINY)
    assert "--yes" in question.value.remedy
    with pytest.raises(ConsentNeeded):
        bench.studio.run(
            "zib",
            [bench.photos],
            ["{trigger}"],
            train={"trainer": "fal", **TINY},
            publish={"hub": "huggingface", "visibility": "public"},
            generate={"generator": "together", **SMALL},
        )
    assert [job.kind for job in bench.studio.jobs.all()] == ["intake"]
    nothing_sent(bench)
    ended = bench.run(bench.studio.train("zib", trainer="replicate", yes=True, **TINY))
    assert ended.error is None
    assert bench.paid == {"replicate": ["training"]}


def test_cheap_pictures_of_known_price_need_no_question(bench: ServicesBench) -> None:
    name = published(bench)
    with pytest.raises(ConsentNeeded):
        generate(bench, name, count=1000, width=192, height=192, steps=50, generator="together,fal")
    seen = generate(bench, name, what_if=True)
    for above in (seen.estimate.amount, seen.estimate.amount / 2):
        asks = above < seen.estimate.amount or not seen.estimate.certain
        studio = bench.open(consent_above=above)
        try:
            studio.generate("{trigger}", loras=[name], generator="together", count=10, **SMALL)
        except ConsentNeeded:
            assert asks
        else:
            assert not asks
        studio.close()


@pytest.mark.parametrize("generator", ["together", "fal", "replicate"])
def test_a_budget_that_ends_in_the_midst_keeps_what_is_drawn(bench: ServicesBench, generator: str) -> None:
    name = published(bench)
    job = generate(bench, name, generator=generator, yes=True)
    each = generate(bench, name, generator=generator, what_if=True).estimate.amount / 10
    poor = bench.open(budget_total=each * Decimal("3.5"))
    with pytest.raises(SpendingRefused):
        poor.generate("{trigger}", loras=[name], generator=generator, count=10, yes=True, **SMALL)
    nothing_sent_paid = dict(bench.paid)
    assert nothing_sent_paid == {}
    ended = bench.run(job, poor)
    assert ended.state is JobState.FAILED
    assert ended.error["code"] == "spending-refused"
    assert "7 of 10 pictures were not drawn" in ended.error["message"]
    assert "LIMNER_BUDGET_TOTAL" in ended.error["remedy"]
    assert len(bench.studio.generations.get(job.target).images) == 3 == len(bench.paid[generator])
    again = bench.run(poor.resume(ended), poor)
    assert again.error["code"] == "spending-refused"
    assert len(bench.paid[generator]) == 3
    poor.close()
    rich = bench.open(budget_total=each * 11)
    last = bench.run(rich.resume(again), rich)
    assert last.error is None
    assert [image.seed for image in rich.generations.get(job.target).images] == list(range(7, 17))
    assert len(bench.paid[generator]) == 10
    rich.close()


def test_a_budget_is_no_reason_to_try_the_next(bench: ServicesBench) -> None:
    name = published(bench)
    job = generate(bench, name, generator="together,fal", yes=True)
    poor = bench.open(budget_total=Decimal("0.0001"))
    ended = bench.run(job, poor)
    poor.close()
    assert ended.error["code"] == "spending-refused"
    assert bench.paid == {}


def test_what_if_sends_nothing_and_shows_what_will_be_sent(photographed: ServicesBench) -> None:
    bench = photographed
    seen = bench.studio.trainings.start("zib", trainer="replicate", what_if=True, **TINY)
    assert bench.studio.datasets.all() == []
    fal = bench.studio.trainings.start("zib", trainer="fal", what_if=True, **TINY)
    whole = bench.studio.runs.start(
        "zib",
        [bench.photos],
        ["a drawing of {trigger}"],
        train={"trainer": "replicate", **TINY},
        publish={"hub": "huggingface", "visibility": "public"},
        generate={"generator": "together,fal", **SMALL},
        what_if=True,
    )
    for found in (seen, fal, whole):
        assert found.possible, [plan.refusals for plan in found.plans]
        text = json.dumps([[call.body for call in plan.calls] for plan in found.plans], default=str)
        assert not [token for token in TOKENS.values() if token in text or token in repr(found)]
        assert any(call.costs for plan in found.plans for call in plan.calls)
    assert [plan.back_end for plan in whole.plans] == ["replicate", "together", "fal"]
    # one of the two generators draws: the dearer counts
    training, *drawing = [plan.estimate.amount for plan in whole.plans]
    assert whole.estimate.amount == training + max(drawing)
    [picture] = [call.body for call in whole.plans[1].calls if call.costs]
    assert picture["prompt"] == "a drawing of zibbo"
    assert [one["scale"] for one in picture["image_loras"]] == [1.0]
    nothing_sent(bench)
    assert [job.kind for job in bench.studio.jobs.all()] == ["intake"]
    assert not [place for place in (bench.settings.home / "runs").rglob("*") if place.is_file()]

    bench.run(bench.studio.train("zib", trainer="replicate", yes=True, **TINY))
    [sent] = [
        one for one in bench.heard["replicate"].requests if one.path.endswith("/trainings") and one.method == "POST"
    ]
    [planned] = [call for call in seen.plans[0].calls if call.costs]
    assert planned.url.endswith(sent.path)
    assert without_file(planned.body) == without_file(json.loads(sent.body))
    bench.run(bench.studio.train("zib", trainer="fal", yes=True, **TINY))
    [sent] = [one for one in bench.heard["fal"].requests if one.path.startswith("/queue/") and one.method == "POST"]
    [planned] = [call for call in fal.plans[0].calls if call.costs]
    assert planned.url.endswith(sent.path)
    assert without_file(planned.body) == without_file(json.loads(sent.body))


def without_file(body: Any) -> Any:
    """A request without the address of the photos, which is known only once they are uploaded."""
    if isinstance(body, dict):
        return {
            key: without_file(value)
            for key, value in body.items()
            if key not in ("input_images", "images_data_url", "image_data_url")
        }
    return body


@pytest.mark.parametrize("generator", ["together", "fal", "replicate", "huggingface"])
def test_the_request_shown_is_the_request_sent(bench: ServicesBench, generator: str) -> None:
    name = published(bench)
    seen = generate(bench, name, generator=generator, count=1, what_if=True)
    assert seen.possible
    nothing_sent(bench)
    bench.run(generate(bench, name, generator=generator, count=1, yes=True))
    [planned] = [call for call in seen.plans[0].calls if call.costs]
    sent = [one for one in bench.heard[generator].requests if one.method == "POST" and planned.url.endswith(one.path)]
    assert json.loads(sent[-1].body) == planned.body


# --- the command line -------------------------------------------------------------------------------------------------


@pytest.fixture
def command_line(photographed: ServicesBench, monkeypatch: pytest.MonkeyPatch) -> ServicesBench:
    for key, value in photographed.settings.as_environment().items():
        monkeypatch.setenv(key, value)
    return photographed


def test_the_ledger_tells_estimated_from_actual(
    command_line: ServicesBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = command_line
    name = published(bench)
    bench.run(bench.studio.train("zib", trainer="replicate", yes=True, **TINY))
    bench.run(generate(bench, name, count=2, yes=True))
    spent = bench.studio.payments.costs()
    training = next(entry for entry in spent.entries if entry.what == "training")
    assert training.actual is not None and training.actual != training.estimated
    assert training.amount == training.actual
    pictures = [entry for entry in spent.entries if entry.what == "picture"]
    assert [entry.actual for entry in pictures] == [None, None]
    assert {entry.subject for entry in pictures} == {"ink"}
    assert spent.estimated == sum(entry.amount for entry in pictures)
    assert spent.by_subject == {"zib": training.amount, "ink": spent.estimated}
    assert run(["costs"]) == 0
    shown = capsys.readouterr().out
    assert "replicate" in shown and "together" in shown and "is estimated" in shown
    assert run(["costs", "--subject", "ink", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["entries"]) == 2


TRAIN = ["train", "zib", "--trainer", "replicate", "--set", "steps=20", "--set", "resolution=64"]


def test_commands_show_and_ask_before_they_pay(command_line: ServicesBench, capsys: pytest.CaptureFixture[str]) -> None:
    bench = command_line
    name = published(bench)
    picture = ["generate", "a drawing of {trigger}", "--lora", name, "--generator", "together", "--width", "64"]
    whole = [
        "run",
        str(bench.photos),
        "--name",
        "zib",
        "--kind",
        "character",
        "--prompt",
        "{trigger}",
        "--trainer",
        "fal",
    ]
    whole += ["--hub", "huggingface", "--public", "--generator", "together", "--set", "steps=20"]
    for words in (TRAIN, picture, whole):
        assert run([*words, "--what-if"]) == 0
        shown = capsys.readouterr().out
        assert "Nothing was sent that costs." in shown
        assert "POST http" in shown and "(paid)" in shown
        assert run([*words, "--what-if", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert all(plan["calls"] for plan in found["plans"])
        assert not [token for token in TOKENS.values() if token in shown or token in json.dumps(found)]
    for words in (TRAIN, whole):
        assert run([*words, "--detach"]) == 9
        assert "--yes" in capsys.readouterr().err
    bench.vendors.together.rows = {}
    assert run([*picture, "--what-if"]) == 2
    assert "does not list" in capsys.readouterr().out
    nothing_sent(bench)
    assert run([*TRAIN, "--yes", "--detach"]) == 0
    assert {job.kind for job in bench.studio.jobs.all()} == {"intake", "publish", "train"}


def test_going_on_and_drawing_again_are_shown_before_they_are_paid(
    command_line: ServicesBench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench = command_line
    name = published(bench)

    def shown(*words: str) -> list[dict[str, Any]]:
        jobs, paid = bench.studio.jobs.all(), bench.paid
        assert run([*words, "--what-if"]) == 0
        assert "(paid)" in (told := capsys.readouterr().out) and "Nothing was sent that costs." in told
        assert run([*words, "--what-if", "--json"]) == 0
        assert (bench.studio.jobs.all(), bench.paid) == (jobs, paid)
        plans: list[dict[str, Any]] = json.loads(capsys.readouterr().out)["plans"]
        return plans

    job = generate(bench, name, yes=True)
    each = generate(bench, name, what_if=True).estimate.amount / 10
    poor = bench.open(budget_total=each * Decimal("3.5"))
    assert bench.run(job, poor).state is JobState.FAILED
    poor.close()
    [picture, *_] = bench.studio.generations.get(job.target).images
    [plan] = shown("jobs", "resume", job.id)
    assert [call["times"] for call in plan["calls"] if call["costs"]] == [7]
    [plan] = shown("reproduce", str(picture.path))
    assert [call["times"] for call in plan["calls"] if call["costs"]] == [1]

    training = bench.studio.train("zib", trainer="replicate", yes=True, **TINY)
    whole = bench.studio.run(
        "zib",
        [bench.photos],
        ["{trigger}"],
        train={"trainer": "fal", **TINY},
        publish={"hub": "huggingface", "visibility": "public"},
        generate={"generator": "together", **SMALL},
        yes=True,
    )
    for one in (training, whole):
        bench.studio.cancel(one)
        assert bench.run(one).state is JobState.CANCELLED
    [plan] = shown("trainings", "resume", training.target)
    assert plan["back_end"] == "replicate"
    assert [plan["back_end"] for plan in shown("jobs", "resume", training.id)] == ["replicate"]
    assert [plan["back_end"] for plan in shown("jobs", "resume", whole.id)] == ["fal", "together"]


@pytest.mark.parametrize(("answer", "begun"), [("n", False), ("y", True)])
def test_somebody_at_a_terminal_is_asked(command_line: ServicesBench, answer: str, begun: bool) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "limner", *TRAIN, "--detach"],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    os.write(ours, f"{answer}\n".encode())
    out, said = process.communicate(timeout=60)
    os.close(ours)
    assert b"$" in said + out and b"Go on?" in said + out
    assert (process.returncode == 0) == begun, said
    assert ("train" in {job.kind for job in command_line.studio.jobs.all()}) == begun
    assert command_line.paid == {}
