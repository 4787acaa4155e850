"""From photos to pictures by way of the services, every way; and who draws where the first in the order cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.records import Job
from limner.types import JobState
from tests.servers.quick_engine import quick_lora
from tests.servers.services_bench import SMALL, TINY, ServicesBench, open_bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicesBench]:
    with open_bench(tmp_path, monkeypatch) as opened:
        yield opened


def went(bench: ServicesBench, trainer: str, generator: str, **more: Any) -> Job:
    """The whole way, public on the Hub."""
    base = more.pop("base", "limner-tiny")
    job = bench.studio.run(
        bench.subject(),
        [bench.photos],
        ["a drawing of {trigger}"],
        train={"base": base, "trainer": trainer, **TINY, **more.pop("train", {})},
        publish={"hub": "huggingface", "visibility": "public", **more.pop("publish", {})},
        generate={"generator": generator, "count": 2, **SMALL, **more.pop("generate", {})},
        yes=True,
        **more,
    )
    ended = bench.run(job)
    assert ended.error is None
    assert ended.state is JobState.DONE
    return ended


@pytest.mark.parametrize(
    ("trainer", "generator", "base", "options"),
    [
        ("replicate", "together", "limner-tiny", {}),
        ("replicate", "replicate", "limner-tiny", {}),
        ("fal", "fal", "limner-tiny", {}),
        ("fal", "huggingface", "limner-tiny", {}),
        ("fal", "together", "flux2-random", {"settings": {"steps": 20, "warmup_steps": 0, "resolution": 128}}),
    ],
)
def test_every_way_ends_with_pictures_and_pays_once(
    bench: ServicesBench, trainer: str, generator: str, base: str, options: dict[str, Any]
) -> None:
    ended = went(bench, trainer, generator, base=base, train=options)
    studio = bench.studio
    [repo] = bench.vendors.huggingface.repos.values()
    assert repo.id == ended.result["repo"] == "rehearsal/zib-lora"
    assert not repo.private
    generation = studio.generations.get(ended.result["generation"])
    assert [image.seed for image in generation.images] == [7, 8]
    assert {image.generator for image in generation.images} == {generator}
    assert {image.generator for image in studio.generations.images("zib")} == {generator}
    made = studio.loras.inspect(generation.images[0].path)
    assert generator in json.dumps(made, default=str)
    paid = bench.paid
    assert len(paid.pop(trainer)) == (3 if trainer == generator else 1)
    assert sum(map(len, paid.values())) == (0 if trainer == generator else 2)
    assert not [place for place in (studio.settings.home / "runs").iterdir() if any(place.iterdir())]
    costs = studio.payments.costs()
    assert len(costs.entries) == 3
    assert {entry.state for entry in costs.entries} == {"settled"}
    assert all(entry.estimated is not None for entry in costs.entries)


def test_the_photos_are_deleted_at_replicate(bench: ServicesBench) -> None:
    ended = went(bench, "replicate", "together")
    assert bench.vendors.replicate.files == {}
    [training] = [run.result for run in ended.stages if run.stage == "train"]
    assert "left_behind" not in training
    assert all(
        model.visibility == "private" for model in bench.vendors.replicate.models.values() if model.owner == "rehearsal"
    )


def test_a_lora_trained_at_replicate_is_drawn_there_without_any_publication(bench: ServicesBench) -> None:
    ended = went(bench, "replicate", "replicate", publish={"hub": "folder", "visibility": "private"})
    assert bench.vendors.huggingface.repos == {}
    drawn = bench.studio.generations.get(ended.result["generation"]).images
    assert len(drawn) == 2
    [job, *_] = bench.vendors.replicate.predictions.values()
    assert job.model.owner == "rehearsal"
    assert job.version.lora


def published(bench: ServicesBench, slug: str = "ink") -> str:
    name = bench.import_lora(slug, quick_lora("limner-tiny", 4, slug.encode()))
    bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="public"))
    return name


def draw(bench: ServicesBench, generator: str, **options: Any) -> Job:
    name = options.pop("name", None) or published(bench)
    job = bench.studio.generate(
        options.pop("prompt", "a drawing of {trigger}"),
        **{"loras": [name], "generator": generator, "count": 3, "yes": True, **SMALL, **options},
    )
    return bench.run(job)


def drew(bench: ServicesBench, job: Job) -> list[str]:
    return [image.generator for image in bench.studio.generations.get(job.target).images]


@pytest.mark.parametrize("trouble", ["withdrawn", "revoked", "busy", "poor"])
def test_the_next_draws_where_the_first_cannot(bench: ServicesBench, trouble: str) -> None:
    name = published(bench)
    if trouble == "withdrawn":
        bench.vendors.together.rows = {}
    elif trouble == "revoked":
        bench.vendors.together.tokens = {}
    else:
        kind = {"busy": "busy-503", "poor": "no-credit"}[trouble]
        bench.fault("together", kind, "POST", "/images/generations", times=0)
    ended = draw(bench, "together,fal", name=name)
    assert ended.error is None
    assert drew(bench, ended) == ["fal"] * 3
    assert [words.partition(":")[0] for words in ended.result["passed_over"]] == ["together"]
    assert bench.paid == {"fal": ["picture"] * 3}
    record = bench.studio.loras.inspect(bench.studio.generations.get(ended.target).images[0].path)
    assert "fal" in json.dumps(record, default=str)
    counted = bench.studio.payments.costs()
    assert {entry.vendor for entry in counted.entries if entry.amount} == {"fal"}


@pytest.mark.engine
def test_what_no_vendor_draws_is_drawn_here(bench: ServicesBench) -> None:
    name = published(bench)
    bench.vendors.together.rows = {}
    bench.vendors.fal.revoked.update(bench.vendors.fal.tokens)
    ended = draw(bench, "together,fal,local", name=name, count=1)
    assert ended.error is None
    assert drew(bench, ended) == ["local"]
    assert [words.partition(":")[0] for words in ended.result["passed_over"]] == ["together", "fal"]
    assert bench.paid == {}
    assert bench.studio.payments.costs().total == 0


def test_a_partly_drawn_generation_is_ended_by_the_next(bench: ServicesBench) -> None:
    name = published(bench)
    bench.vendors.together.credit = 2
    ended = draw(bench, "together,fal", name=name, count=12)
    assert ended.error is None
    who = drew(bench, ended)
    assert set(who) == {"fal", "together"}
    assert [image.seed for image in bench.studio.generations.get(ended.target).images] == list(range(7, 19))
    assert {vendor: len(what) for vendor, what in bench.paid.items()} == {name: who.count(name) for name in set(who)}
    costs = [entry for entry in bench.studio.payments.costs().entries if entry.amount]
    assert len({entry.tag for entry in costs}) == len(costs) == 12
    assert sorted(entry.vendor for entry in costs) == sorted(who)


def test_all_that_cannot_are_named(bench: ServicesBench) -> None:
    name = published(bench)
    bench.vendors.together.tokens = {}
    bench.vendors.fal.no_credit = True
    ended = draw(bench, "together,fal", name=name)
    assert ended.state is JobState.FAILED
    assert ended.error["message"].startswith("together: ")
    assert " fal: " in ended.error["message"]
    assert bench.paid == {}
    assert bench.studio.payments.costs().total == 0


def test_what_one_refuses_for_its_content_no_other_is_asked_for(bench: ServicesBench) -> None:
    ended = draw(bench, "together,fal", prompt="a forbidden-word of {trigger}")
    assert ended.error["code"] == "content-refused"
    assert bench.paid == {}
    assert not bench.posts("fal")


@pytest.mark.parametrize("lost", ["lost-reset", "lost-html-504", "lost-garbled"])
def test_what_may_be_paid_is_not_bought_from_the_next(bench: ServicesBench, lost: str) -> None:
    name = published(bench)
    bench.fault("together", lost, "POST", "/images/generations", nth=2)
    ended = draw(bench, "together,fal", name=name)
    assert ended.error["code"] == "undecided"
    assert bench.paid == {"together": ["picture"] * 3}
    assert not bench.posts("fal")
    [waiting] = bench.studio.payments.open()
    assert waiting.vendor == "together"
    assert waiting.tag in ended.error["remedy"]
    assert drew(bench, ended) == ["together"] * 2
    bench.studio.payments.decide(waiting.tag, "again")
    again = bench.run(bench.studio.resume(ended))
    assert again.error is None
    assert drew(bench, again) == ["together"] * 3
    assert len(bench.paid["together"]) == 4


def test_an_undecided_picture_stays_so_though_the_account_fails_too(bench: ServicesBench) -> None:
    """Whatever else goes wrong with the first, the next must not draw what may have been paid."""
    name = published(bench)
    bench.fault("together", "lost-reset", "POST", "/images/generations", nth=1)
    bench.fault("together", "revoked", "POST", "/images/generations", nth=2, times=0)
    ended = draw(bench, "together,fal", name=name)
    assert ended.error["code"] == "undecided"
    assert len(bench.paid["together"]) == 1
    assert len(bench.paid.get("fal", [])) == 2
    assert len(bench.studio.payments.open()) == 1


def test_a_withdrawn_trainer_is_said_before_anything_is_sent(bench: ServicesBench) -> None:
    bench.vendors.replicate.withdrawn.add("limner/limner-tiny-trainer")
    bench.subject()
    job = bench.studio.run(
        "zib",
        [bench.photos],
        ["a drawing of {trigger}"],
        train={"trainer": "replicate", **TINY},
        publish={"hub": "huggingface", "visibility": "public"},
        generate={"generator": "together", **SMALL},
        yes=True,
    )
    ended = bench.run(job)
    assert ended.state is JobState.FAILED
    assert ended.error["code"] == "recipe-refused"
    assert bench.paid == {}
    assert not bench.posts("replicate")
