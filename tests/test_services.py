"""The three plain classes, against the stand-ins, on real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.errors import (
    AccountRefused,
    Conflict,
    ConsentNeeded,
    ContentRefused,
    InputRefused,
    LimnerError,
    NotFound,
    RecipeRefused,
    Undecided,
    WorkFailed,
)
from limner.generation.metadata import provenance
from limner.loras.checks.inspection import inspect
from limner.operations.home.workspace import Workspace
from limner.operations.jobs.actions import Jobs
from limner.records import Job
from limner.services import HuggingFaceService, TogetherService, TrainingService
from limner.stand_ins.rehearsal import TOKENS
from limner.types import Consent, JobState
from tests.servers.services_bench import SMALL, ServicesBench, open_bench

WHO: dict[str, Any] = {
    "trigger": "zibbo",
    "kind": "character",
    "class_word": "robot",
    "base": "limner-tiny",
    "settings": {"steps": 20, "rank": 4, "alpha": 4.0, "resolution": 64},
}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicesBench]:
    """Whoever watches a job does it."""
    with open_bench(tmp_path, monkeypatch) as opened:

        def watch(jobs: Jobs, job: Job | str) -> Iterator[Job]:
            studio = copy(opened.studio)
            studio._workspace = jobs._workspace
            found = jobs.get(job if isinstance(job, str) else job.id)
            yield found if found.state.ended else opened.run(found, studio)

        monkeypatch.setattr(Jobs, "watch", watch)
        monkeypatch.setattr(Workspace, "submitter", opened.queue)
        yield opened


def service(bench: ServicesBench, folder: str = "work") -> TrainingService:
    return TrainingService(bench.folder / folder, settings=bench.settings)


def trained(bench: ServicesBench) -> tuple[TrainingService, str]:
    it = service(bench)
    training = it.start_replicate_training(bench.photos, **WHO)
    assert it.wait(training).state is JobState.DONE
    return it, training


def test_from_photos_to_pictures(bench: ServicesBench) -> None:
    it = service(bench)
    training = it.start_replicate_training(bench.photos, **WHO)
    assert it.check_training_status(training).state is JobState.WAITING
    reports: list[Any] = []
    ended = it.wait(training, reports.append)
    assert ended == reports[-1]
    assert (ended.state, ended.progress.done, ended.progress.total) == (JobState.DONE, 20, 20)
    weights = it.download(training)
    facts = inspect(weights)
    assert (facts.base, facts.naming, facts.rank, facts.trigger) == ("limner-tiny", "diffusers", 4, "zibbo")
    assert bench.vendors.replicate.files == {}
    place = it.upload_to_hugging_face(training, "zibbo-lora", private=False)
    assert place.repo == "rehearsal/zibbo-lora"
    hub = HuggingFaceService(settings=bench.settings)
    health = hub.get_lora_status("zibbo-lora", weights_digest=facts.digest)
    assert health.ready, health.problems
    assert not hub.get_lora_status("zibbo-lora", weights_digest="0" * 64).ready
    assert not hub.get_lora_status("another").ready
    card = bench.vendors.huggingface.repos["rehearsal/zibbo-lora"].main.files["README.md"]
    text = bench.vendors.huggingface.contents[card.sha256].decode()
    assert "zibbo" in text
    together = TogetherService(settings=bench.settings)
    pictures = together.generate_with_lora(
        "zibbo in the snow", [f"{place.repo}:0.9"], out=bench.folder / "pictures", count=2, **SMALL
    )
    assert [Image.open(path).size for path in pictures] == [(64, 64)] * 2
    record = provenance.read_record(pictures[1])
    assert (record.generator, record.seed, record.base) == ("together", 8, "limner-tiny")
    assert [(use.name, use.scale) for use in record.loras] == [(place.repo, 0.9)]
    assert bench.paid == {"replicate": ["training"], "together": ["picture"] * 2}


def test_the_same_again_pays_nothing(bench: ServicesBench) -> None:
    it, training = trained(bench)
    weights = it.download(training)
    place = it.upload_to_hugging_face(training, "zibbo-lora", private=False)
    # another object, as after a crash; and another folder, where only the vendor's list tells
    assert service(bench).start_replicate_training(bench.photos, **WHO) == training
    assert service(bench).download(training) == weights
    again = service(bench).upload_to_hugging_face(training, "zibbo-lora", private=False)
    assert again.revision == place.revision
    assert bench.paid == {"replicate": ["training"]}
    other = it.start_replicate_training(bench.photos, **{**WHO, "settings": {**WHO["settings"], "steps": 30}})
    assert other != training
    it.wait(other)
    assert len(bench.paid["replicate"]) == 2
    together = TogetherService(settings=bench.settings)
    out = bench.folder / "pictures"
    first = together.generate_with_lora("zibbo", [place.repo], out=out, count=3, **SMALL)
    assert together.generate_with_lora("zibbo", [place.repo], out=out, count=3, **SMALL) == first
    first[1].unlink()
    assert together.generate_with_lora("zibbo", [place.repo], out=out, count=4, **SMALL)[:3] == first
    assert len(bench.paid["together"]) == 4  # what was deleted from the folder is here still
    assert together.generate_with_lora("zibbo", [f"{place.repo}:0.5"], out=out, **SMALL)[0] not in first


def test_a_start_whose_answer_is_lost_is_found_again(bench: ServicesBench) -> None:
    bench.fault("replicate", "lost-reset", "POST", "/trainings$")
    it, training = trained(bench)
    assert it.download(training).is_file()
    assert bench.paid == {"replicate": ["training"]}


def test_what_if_sends_nothing(bench: ServicesBench) -> None:
    plan = service(bench).what_if(bench.photos, **WHO)
    assert plan.refusals == ()
    assert plan.estimate.amount > 0
    [paid] = [call for call in plan.calls if call.costs]
    assert paid.url.endswith("/trainings")
    assert not [token for token in TOKENS.values() if token in repr(plan)]
    assert bench.posts("replicate") == []
    with pytest.raises(ConsentNeeded, match="more than"):
        service(bench).start_replicate_training(bench.photos, most_cost=0.0001, **WHO)
    assert bench.posts("replicate") == []


def test_what_cannot_be_is_said(bench: ServicesBench, monkeypatch: pytest.MonkeyPatch) -> None:
    it = service(bench)
    with pytest.raises(RecipeRefused):
        it.start_replicate_training(bench.photos, **{**WHO, "settings": {"rank": 0}})
    with pytest.raises(LimnerError):
        it.start_replicate_training(bench.folder / "nowhere", **WHO)
    with pytest.raises(NotFound):
        it.check_training_status("training_0000")
    monkeypatch.delenv("REPLICATE_API_TOKEN")
    with pytest.raises((AccountRefused, RecipeRefused), match=r"account|token"):
        it.start_replicate_training(bench.photos, **WHO)
    assert bench.paid == {}


def test_a_training_that_fails_says_why(bench: ServicesBench) -> None:
    bench.vendors.replicate.endings.append(("failed", "CUDA out of memory"))
    it = service(bench)
    training = it.start_replicate_training(bench.photos, **WHO)
    assert it.wait(training).state is JobState.FAILED
    with pytest.raises(WorkFailed) as failed:
        it.download(training)
    assert failed.value.remedy
    with pytest.raises(WorkFailed):
        it.upload_to_hugging_face(training, "zibbo-lora")
    assert bench.vendors.huggingface.repos == {}
    # the same call goes on with it
    assert it.start_replicate_training(bench.photos, **WHO) == training
    assert it.wait(training).state is JobState.DONE
    assert len(bench.paid["replicate"]) == 2


def test_a_training_has_the_photos_of_its_call_and_no_others(bench: ServicesBench) -> None:
    it = service(bench)
    photos = sorted(bench.photos.iterdir())
    first = it.start_replicate_training(photos, **WHO)
    second = it.start_replicate_training(photos[1:], **WHO)
    counts = [
        len(it.studio.datasets.get(it.studio.trainings.get(one).dataset).manifest.items) for one in (first, second)
    ]
    assert counts[0] - counts[1] == 1
    assert it.start_replicate_training(photos, **WHO) == first


def test_a_person_is_public_only_with_consent(bench: ServicesBench) -> None:
    it = service(bench)
    training = it.start_replicate_training(bench.photos, **{**WHO, "kind": "person"})
    it.wait(training)
    with pytest.raises(Conflict, match="no consent"):
        it.upload_to_hugging_face(training, "ann", private=False)
    assert bench.vendors.huggingface.repos == {}
    it.upload_to_hugging_face(training, "ann")
    assert bench.vendors.huggingface.repos["rehearsal/ann"].private
    consent = Consent("may be shown", "Ann", datetime.now(UTC))
    it.upload_to_hugging_face(training, "ann", private=False, consent=consent)
    repo = bench.vendors.huggingface.repos["rehearsal/ann"]
    assert not repo.private
    assert list(repo.tags) == ["v1", "v1.2"]  # the card tells of the consent now, and a tag never moves


def test_what_together_cannot_draw(bench: ServicesBench) -> None:
    it, training = trained(bench)
    place = it.upload_to_hugging_face(training, "zibbo-lora")
    together, out = TogetherService(settings=bench.settings), bench.folder / "pictures"
    with pytest.raises(InputRefused):  # private
        together.generate_with_lora("zibbo", [place.repo], out=out, **SMALL)
    it.upload_to_hugging_face(training, "zibbo-lora", private=False)
    with pytest.raises(NotFound):
        together.generate_with_lora("zibbo", ["rehearsal/nothing"], out=out, **SMALL)
    with pytest.raises(InputRefused):
        together.generate_with_lora("zibbo", [place.repo], out=out, **{**SMALL, "width": 65})
    with pytest.raises(ContentRefused), pytest.warns(UserWarning, match="does not hold 'zibbo'"):
        together.generate_with_lora("a forbidden-word", [place.repo], out=out, **SMALL)
    assert list(out.iterdir()) == []
    bench.fault("together", "lost-reset", "POST", "/images/generations")
    with pytest.raises(Undecided):
        together.generate_with_lora("zibbo", [place.repo], out=out, **SMALL)
    assert len(bench.paid["together"]) == 1
    assert json.dumps(bench.paid)
