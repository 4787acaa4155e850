"""Erasing: nothing begun meanwhile is torn, what a killed process left is erased later, and no trace of words stays."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select, update

from limner import Studio
from limner.errors import Conflict, NotFound
from limner.operations.home import blob_erasure
from limner.operations.home.scratch import scratch
from limner.operations.jobs.context import StageContext
from limner.operations.photos import job as intake
from limner.records import KeptAnswer
from limner.settings import Settings
from limner.store.models import (
    BlobRow,
    DatasetPhotoRow,
    DatasetRow,
    ErasureRow,
    GenerationRow,
    JobRow,
    PhotoRow,
    PublicationRow,
    SubjectRow,
)
from limner.store.web_models import AnswerRow
from limner.types import Consent, JobState
from tests.operations.conftest import draw_photos
from tests.operations.loras_made import TRAINING, add_training
from tests.servers.quick_engine import quick_lora
from tests.web.pictures_made import add_generation, add_photo, add_sample, png


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as made:
        for slug in ("bob", "anna"):
            made.subjects.add(slug, kind="pet", trigger=f"{slug}_pet")
        yield made


@pytest.fixture
def loras(studio: Studio) -> Studio:
    """A version of each."""
    add_training(studio, "bob")
    studio.trainings.pick(TRAINING, 10)
    path = studio.settings.home.parent / "anna.safetensors"
    path.write_bytes(quick_lora("limner-tiny", 2, b"anna"))
    studio.loras.adopt(path, subject="anna", base="limner-tiny")
    return studio


def ended(studio: Studio, job: str) -> None:
    with studio._workspace.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(state=JobState.DONE))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.exists() else []


def in_child(studio: Studio, code: str) -> None:
    """Run code in a process of its own that ends by ``os._exit(9)``, as if it had been killed there."""
    begin = (
        "import os\nfrom pathlib import Path\nfrom limner import Studio\nfrom limner.settings import Settings\n"
        f"studio = Studio(settings=Settings(home=Path({str(studio.settings.home)!r}), start_worker=False))\n"
    )
    child = subprocess.run([sys.executable, "-c", begin + code], capture_output=True, text=True, check=False)
    assert child.returncode == 9, child.stderr


# --- what happens meanwhile -------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["digests", "delete"])
def test_a_job_that_begins_meanwhile_is_not_torn(loras: Studio, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    loras.publications.start("bob")
    loras.work(idle_seconds=0.0)
    started = []

    def start(*_words: object) -> list[str]:
        started.append(loras.generate("a photo of {trigger}", loras=["bob@v1"], generator="local"))
        return []

    if when == "digests":
        monkeypatch.setattr(loras._workspace.blobs, "digests", start)
    else:
        monkeypatch.setattr("limner.hubs.folder.hub.FolderHub.delete", start)
    with pytest.raises(Conflict, match="has not ended"):
        loras.erasure.erase("bob")
    (job,) = started
    assert loras.jobs.get(job.id).target == job.target
    assert loras.generations.get(job.target).prompt == "a photo of bob_pet"
    assert loras.loras.get("bob@v1").path.is_file()


def test_a_whole_run_that_will_draw_it_is_waited_for(loras: Studio) -> None:
    with loras._workspace.database.write() as session:
        stages = [{"stage": "generate", "generation": "generation_1", "loras": [["", 1.0], ["bob@v1", 1.0]]}]
        session.add(JobRow(id="job_1", kind="run", subject="anna", request={"stages": stages}, state="waiting"))
    assert [job.id for job in loras.erasure.contents("bob").running] == ["job_1"]
    with pytest.raises(Conflict, match="job_1"):
        loras.erasure.erase("bob")


def take_photo(studio: Studio, slug: str, folder: Path) -> str:
    """Take one photo in as a worker does; its digest."""
    job = intake.submit(studio._workspace, slug, [folder])
    with studio._workspace.database.read() as session:
        request = intake.IntakeRequest.from_json(session.get_one(JobRow, job.id).request["stages"][0])
    intake._take_in(StageContext(studio._workspace, job.id, {}), request)
    ended(studio, job.id)
    (photo,) = studio.photos.all(slug)
    return photo.digest


@pytest.mark.parametrize("when", ["after its rows went", "before its rows came"])
def test_a_photo_that_another_takes_meanwhile_stays(
    studio: Studio, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    folder = draw_photos(tmp_path / "drawn", 1)
    digest = take_photo(studio, "bob", folder)
    if when.startswith("after"):
        finish = blob_erasure.finish

        def later(*words: object) -> dict[str, str]:
            monkeypatch.setattr(blob_erasure, "finish", finish)
            assert take_photo(studio, "anna", folder) == digest
            return finish(*words)  # type: ignore[arg-type]

        monkeypatch.setattr(blob_erasure, "finish", later)
        assert studio.erasure.erase("bob").left == ()
    else:
        blobs = studio._workspace.blobs
        put = blobs.put

        def put_then(content: bytes | Path) -> str:
            monkeypatch.setattr(blobs, "put", put)
            found = put(content)
            studio.photos.remove("bob", digest)
            assert not blobs.has(digest)
            return found

        monkeypatch.setattr(blobs, "put", put_then)
        assert take_photo(studio, "anna", folder) == digest
    assert studio.photos.all("anna")[0].path.is_file()
    with studio._workspace.database.read() as session:
        assert session.scalars(select(ErasureRow)).all() == []


# --- what a killed process leaves -------------------------------------------------------------------------------


def test_what_a_killed_process_was_erasing_goes_when_a_worker_or_server_starts(studio: Studio) -> None:
    home = studio.settings.home
    for again in (lambda: studio.work(idle_seconds=0.0), studio.jobs.go_on):
        studio.subjects.add("carl", kind="pet")
        digest = add_photo(studio, "carl", png(3, text="carl"))
        training = "training_00000000000000aa"
        add_sample(studio, "carl", training, png(4, text="carl"))
        picture = studio.gallery.photo_picture("carl", digest)
        studio.gallery.thumbnail(picture, 160)
        (home / "runs" / training).mkdir(parents=True)
        (home / "runs" / training / "part").write_text("carl")
        (home / "logs" / "trainings").mkdir(parents=True, exist_ok=True)
        (home / "logs" / "trainings" / f"{training}.txt").write_text("carl")
        in_child(
            studio,
            "from limner.operations.home import blob_erasure\n"
            "blob_erasure.finish = lambda workspace: os._exit(9)\n"
            "studio.erasure.erase('carl')",
        )
        with pytest.raises(NotFound):
            studio.subjects.get("carl")
        assert len(files(home / "blobs")) == 2
        again()
        for folder in ("blobs", "cache", "runs", "logs/trainings"):
            assert files(home / folder) == [], folder


def test_what_cannot_be_erased_is_said_and_tried_again(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = add_photo(studio, "bob", png(3))

    def refuse(_digest: str) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(studio._workspace.blobs, "remove", refuse)
        assert studio.erasure.erase("bob").left == (f"the blob {digest[:12]}…: Permission denied",)
    studio.erasure.erase("anna")
    assert studio._workspace.blobs.digests() == []


def test_the_weights_of_a_killed_pick_are_swept_and_those_of_a_living_one_are_not(studio: Studio) -> None:
    add_training(studio, "bob")
    runs = studio.settings.home / "runs"
    in_child(
        studio,
        "from limner.loras.checks import validation\n"
        "validation.validate = lambda *words: os._exit(9)\n"
        f"studio.trainings.pick({TRAINING!r}, 10)",
    )
    assert any(path.name == "lora.safetensors" for path in files(runs))
    with scratch(studio.settings.home, "pick-") as living:
        (living / "lora.safetensors").write_bytes(b"x")
        studio.jobs.go_on()
        assert list(runs.iterdir()) == [living]
    assert list(runs.iterdir()) == []


def test_a_removed_photo_is_erased_unless_something_else_holds_it(studio: Studio) -> None:
    alone, frozen, shared = (add_photo(studio, "bob", png(number)) for number in (1, 2, 3))
    assert add_photo(studio, "anna", png(3)) == shared
    with studio._workspace.database.write() as session:
        session.add(DatasetRow(digest="d" * 64, subject="bob", resolution=64, photos=1, manifest={}))
        session.flush()
        session.add(DatasetPhotoRow(dataset="d" * 64, digest=frozen))
    thumbnail = studio.gallery.thumbnail(studio.gallery.photo_picture("bob", alone), 160)
    for digest in (alone, frozen, shared):
        studio.photos.remove("bob", digest)
    assert studio._workspace.blobs.digests() == sorted([frozen, shared])
    assert not thumbnail.exists()
    with studio._workspace.database.read() as session:
        assert set(session.scalars(select(BlobRow.digest))) == {frozen, shared}
        assert session.scalars(select(PhotoRow.subject)).all() == ["anna"]


def test_a_removed_photo_that_is_another_users_too_stays_theirs(studio: Studio) -> None:
    for name in ("ben", "carl"):
        studio.members.add(name, "four plain words here")
        studio.owned_by(name).subjects.add(f"rex_{name}", kind="pet")
        digest = add_photo(studio, f"rex_{name}", png(1))
    studio.owned_by("ben").photos.remove("rex_ben", digest)
    assert studio.owned_by("carl").gallery.photo_picture("rex_carl", digest).path.is_file()


# --- how far it reaches -----------------------------------------------------------------------------------------


def test_jobs_and_answers_that_tell_of_it_are_erased_whoevers_they_are(loras: Studio) -> None:
    job = loras.generate("bob_pet beside anna_pet", loras=["anna@v1", "bob@v1"], generator="local")
    assert loras.jobs.get(job.id).subject == "anna"
    ended(loras, job.id)
    kept = {
        "picture": (f"/generations/{job.target}", f'{{"id": "{job.target}"}}'),
        "photos": ("POST /api/v1/subjects/bob/photos", "{}"),
        "subject": ("POST /api/v1/subjects", '{"slug":"bob","name":"Robert"}'),
        "lora": ("POST /api/v1/loras", '{"name":"bob@v1"}'),
        "another": ("POST /api/v1/subjects/bob-by", '{"slug":"bob-by","name":"bob"}'),
    }
    for key, (route, body) in kept.items():
        assert loras.answers.begin(key, route, []) is None
        loras.answers.keep(key, KeptAnswer(201, {}, body.encode()))
    with loras._workspace.database.write() as session:
        stages = [
            {"stage": "freeze", "subject": "anna"},
            {"stage": "generate", "generation": "generation_1", "prompt": "bob_pet", "loras": [["bob@v1", 1.0]]},
        ]
        ran = [
            {"stage": "freeze", "state": "done", "result": {"photos": 5}},
            {"stage": "generate", "state": "failed", "result": {"passed_over": ["bob_pet"]}},
        ]
        failure = {"code": "prompt", "message": "bob_pet", "remedy": "bob_pet", "thing": "bob_pet", "exit_code": 1}
        values = {"request": {"stages": stages}, "stages": ran, "error": failure, "state": "failed"}
        session.add(JobRow(id="job_1", kind="run", subject="anna", **values))
    loras.erasure.erase("bob")
    with pytest.raises(NotFound):
        loras.jobs.get(job.id)
    run = loras.jobs.get("job_1")
    assert (run.stage_names, run.result, run.state) == (("freeze", "generate"), {"photos": 5}, JobState.FAILED)
    with loras._workspace.database.read() as session:
        assert session.scalars(select(GenerationRow)).all() == []
        assert [row.route for row in session.scalars(select(AnswerRow))] == [kept["another"][0]]
    assert b"bob_pet" not in (loras.settings.home / "limner.db").read_bytes()
    assert loras.loras.get("anna@v1").path.is_file()


def test_no_word_of_it_stays_in_the_databases_log(studio: Studio) -> None:
    words = "Robert agreed on the veranda"
    studio.subjects.record_consent("bob", Consent(words, "Robert", datetime.now(UTC)))
    add_generation(studio, "aa", prompt="bob_pet on the veranda", subjects=["bob"])
    log = studio.settings.home / "limner.db-wal"
    assert words.encode() in log.read_bytes()
    studio.erasure.erase("bob")
    for file in (log, log.with_name("limner.db")):
        assert b"veranda" not in file.read_bytes()


def test_what_is_published_in_one_repo_is_named_and_gone_together(loras: Studio) -> None:
    for slug in ("bob", "anna"):
        loras.publications.start(slug, repo="both")
        loras.work(idle_seconds=0.0)
    assert {one.lora for one in loras.erasure.contents("bob").publications} == {"bob@v1", "anna@v1"}
    assert loras.erasure.erase("bob").left == ()
    with loras._workspace.database.read() as session:
        assert session.scalars(select(PublicationRow)).all() == []
    assert loras.publications.all("anna") == []


def test_what_another_user_published_in_the_same_repo_is_left_and_said(loras: Studio) -> None:
    for slug in ("bob", "anna"):
        loras.publications.start(slug, repo="both")
        loras.work(idle_seconds=0.0)
    loras.members.add("ben", "four plain words here")
    loras.members.add("carl", "four plain words here")
    with loras._workspace.database.write() as session:
        session.execute(update(SubjectRow).where(SubjectRow.slug == "anna").values(owner="carl"))
    (left,) = loras.owned_by("ben").erasure.erase("bob").left
    assert "another user's" in left
    assert [one.lora for one in loras.publications.all("anna")] == ["anna@v1"]
