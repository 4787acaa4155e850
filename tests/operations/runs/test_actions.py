"""Photos in, pictures out, as a user would do it; every stage real, on the model that ships."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from limner import Studio
from limner.errors import Cancelled, Conflict, InputRefused, NotFound, PhotoRefused, RecipeRefused
from limner.types import JobState, Verdict, Visibility
from tests.operations.conftest import QUICK
from tests.waiting import until

pytestmark = pytest.mark.engine


def test_photos_in_pictures_out(studio: Studio, photos: Path, tmp_path: Path) -> None:
    """The main job, in one: each stage's result is looked at."""
    job = studio.run(
        "zib",
        [photos],
        ["a drawing of {trigger} on the beach"],
        train={"settings": QUICK},
        generate={"count": 2, "seed": 7, "width": 64, "height": 64, "steps": 2},
        with_base=True,
    )
    seen = list(studio.watch(job))
    job = studio.wait(job)
    assert [run.stage for run in job.stages] == ["intake", "freeze", "train", "publish", "generate", "generate"]
    assert all(run.state is JobState.DONE for run in job.stages)
    assert any(current.progress is not None for current in seen)

    entries = studio.photos.report("zib")
    assert len(entries) == 5
    assert all(entry.report.verdict is not Verdict.REFUSED for entry in entries)
    captions = {photo.source.rsplit("/", 1)[-1]: photo.caption for photo in studio.photos.all("zib")}
    assert captions["photo-0.png"] == "a drawing of {trigger} with circles"

    dataset = studio.datasets.get("zib")
    assert {item.caption for item in dataset.manifest.items} == {
        "a drawing of zibbo with circles",
        "a photo of zibbo character",
    }
    training = studio.trainings.get(job.target)
    assert training.state is JobState.DONE
    assert training.lora == "zib@v1"
    assert training.losses[-1][0] == QUICK["steps"]
    lora = studio.loras.get("zib")
    assert (lora.base, lora.rank, lora.trigger) == ("limner-tiny", 2, "zibbo")

    [publication] = studio.publications.all("zib")
    assert publication.visibility is Visibility.PRIVATE
    [(_, _, health)] = studio.publications.status("zib")
    assert health.ready, health.problems

    images = studio.generations.images("zib")
    assert len(images) == 4
    base, own = (studio.generations.get(run.result["generation"]) for run in job.stages[4:])
    assert base.loras == ()
    assert own.loras[0].name == "zib@v1"
    assert [image.seed for image in own.images] == [7, 8]
    assert own.prompt == "a drawing of zibbo on the beach"

    again = studio.generations.reproduce(own.images[1].path)
    result = studio.generations.reproduced(own.images[1].path, studio.wait(again))
    assert result.equal, result.differences
    assert studio.loras.inspect(own.images[0].path)["what"] == "picture"
    assert studio.loras.inspect(studio.loras.export("zib", tmp_path))["what"] == "lora"

    erased = studio.erasure.erase("zib")
    assert erased.left == ()
    assert erased.erased["photos"] == 5
    assert studio.generations.images() == []
    assert not (studio.settings.home / "hub" / "limner" / "zib-lora").exists()
    assert [path for path in (studio.settings.home / "blobs").rglob("*") if path.is_file()] == []
    with pytest.raises(NotFound):
        studio.subjects.get("zib")


def test_cancel_keeps_a_checkpoint_and_resume_goes_on_to_the_same_lora(studio: Studio, photos: Path) -> None:
    studio.wait(studio.photos.add("zib", [photos]))
    whole = studio.wait(studio.train("zib", settings={**QUICK, "steps": 40}))
    job = studio.train("zib", settings={**QUICK, "steps": 40})
    for current in studio.watch(job):
        if current.progress is not None and current.progress.stage == "training" and current.progress.done >= 4:
            break
    studio.cancel(job)
    with pytest.raises(Cancelled, match="checkpoint is kept"):
        studio.wait(job)
    assert studio.trainings.get(job.target).state is JobState.CANCELLED
    resumed = studio.wait(studio.trainings.resume(job.target))
    assert resumed.result["lora"] == "zib@v2"
    assert studio.loras.get("zib@v2").tensor_digest == studio.loras.get("zib@v1").tensor_digest
    assert whole.result["lora"] == "zib@v1"
    with pytest.raises(Conflict, match="done already"):
        studio.trainings.resume(job.target)


def test_refusals_come_before_anything_is_queued(studio: Studio, photos: Path) -> None:
    studio.wait(studio.photos.add("zib", [photos]))
    before = len(studio.jobs.all())
    for settings in ({"rank": 0}, {"learning_rate": -1.0}, {"resolution": 1000}, {"rnak": 4}):
        with pytest.raises(RecipeRefused):
            studio.train("zib", settings=settings)
    with pytest.raises(InputRefused, match="no trainer 'horde'"):
        studio.train("zib", trainer="horde")
    with pytest.raises(InputRefused, match="no base"):
        studio.train("zib", base="sdxl")
    with pytest.raises(NotFound):
        studio.generate("a picture", loras=["nobody"])
    with pytest.raises(InputRefused):
        studio.generate("a picture", count=0)
    assert len(studio.jobs.all()) == before


def test_too_few_photos_are_refused_unless_allowed(studio: Studio, photos: Path) -> None:
    studio.wait(studio.photos.add("zib", sorted(photos.glob("*.png"))[:2]))
    with pytest.raises(PhotoRefused, match="2 of at least 4"):
        studio.datasets.freeze("zib")
    assert studio.datasets.freeze("zib", allow_few=True).photos == 2


def test_a_folder_without_photos_fails_the_job_with_the_reason(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PhotoRefused, match="No photo"):
        studio.wait(studio.photos.add("zib", [tmp_path / "empty"]))
    assert studio.photos.all("zib") == []


def test_the_same_photos_again_change_nothing(studio: Studio, photos: Path) -> None:
    studio.wait(studio.photos.add("zib", [photos]))
    first = [photo.digest for photo in studio.photos.all("zib")]
    frozen = studio.datasets.freeze("zib").digest
    studio.wait(studio.photos.add("zib", [photos]))
    assert [photo.digest for photo in studio.photos.all("zib")] == first
    assert studio.datasets.freeze("zib").digest == frozen
    assert len(studio.datasets.all("zib")) == 1


def test_waiting_in_asyncio(studio: Studio, photos: Path) -> None:
    async def work() -> str:
        job = await studio.wait_async(studio.photos.add("zib", [photos]))
        return job.state

    assert asyncio.run(work()) == JobState.DONE


def test_a_worker_ends_when_idle_and_a_new_one_starts(
    home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from limner.operations.home.worker_start import worker_lives

    monkeypatch.setenv("LIMNER_WORKER_IDLE_SECONDS", "0.5")
    with Studio() as studio:
        studio.subjects.add("a", kind="pet")
        studio.wait(studio.photos.add("a", [photos]))
        until(lambda: not worker_lives(home))
        studio.subjects.add("b", kind="pet")
        studio.wait(studio.photos.add("b", [photos]))
        assert len(studio.photos.all("b")) == 5
