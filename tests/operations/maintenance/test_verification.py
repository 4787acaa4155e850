"""Verifying the home: what was damaged, lost or left by hand is found and named, and nothing damaged is handed on."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from limner.errors import LimnerError, NotFound, StorageFailed
from limner.operations.gallery.picture_files import photo_picture
from limner.operations.home.workspace import Workspace
from limner.operations.jobs.context import StageContext
from limner.operations.maintenance import verification
from limner.operations.maintenance.doctor import _verified
from limner.operations.photos import job as intake
from limner.records import Verification
from limner.store.models import JobRow
from limner.studio import Studio
from limner.types import JobState
from tests.lora_rows import add_lora
from tests.photos.making import encoded, picture


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with photos and loras, to be copied."""
    home, photos = tmp_path_factory.mktemp("made") / "home", tmp_path_factory.mktemp("photos")
    for number in range(3):
        (photos / f"p{number}.png").write_bytes(encoded(picture(number)))
    with Studio(home) as studio:
        studio.subjects.add("rex", kind="pet")
        studio.wait(studio.photos.add("rex", [photos]))
        add_lora(studio, "rex")
    return home


@pytest.fixture
def studio(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Studio]:
    monkeypatch.setenv("LIMNER_START_WORKER", "false")
    shutil.copytree(made, tmp_path / "home", ignore=shutil.ignore_patterns("run"))
    with Studio(tmp_path / "home") as studio:
        yield studio


def verify(studio: Studio, **options: bool) -> Verification:
    """Run the stage here, as the worker would."""
    job = studio.maintenance.verify(**options)
    workspace = studio._workspace
    with workspace.database.read() as session:
        request = verification.VerifyRequest.from_json(session.get_one(JobRow, job.id).request["stages"][0])
    result = verification._verify(StageContext(workspace, job.id, {}), request)
    with workspace.database.write() as session:
        row = session.get_one(JobRow, job.id)
        row.state, row.result = JobState.DONE, result
        row.ended_at = row.created_at
    found = studio.maintenance.verification()
    assert found is not None
    return found


def blob_of(workspace: Workspace, digest: str) -> Path:
    return workspace.blobs.place(digest)


def flip(path: Path) -> None:
    """One bit of a byte in the middle, as a failing disk does it."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_sound_home_is_said_to_be_sound(studio: Studio) -> None:
    assert studio.maintenance.verification() is None
    assert _verified(studio._workspace).state == "missing"
    found = verify(studio)
    assert (found.sound, found.counts, found.findings) == (True, {}, ())
    assert found.files == len(studio._workspace.blobs.digests()) == 4
    assert found.bytes == sum(path.stat().st_size for path in studio._workspace.blobs.files())
    assert _verified(studio._workspace).state == "ok"


def test_what_is_damaged_or_missing_is_named_with_what_needs_it(studio: Studio) -> None:
    workspace = studio._workspace
    photos = studio.photos.all("rex")
    flip(blob_of(workspace, photos[0].digest))
    blob_of(workspace, photos[1].digest).unlink()
    flip(blob_of(workspace, studio.loras.get("rex").digest))
    found = verify(studio)
    told = {(one.problem, one.name): one for one in found.findings}
    assert found.counts == {"damaged": 2, "missing": 1}
    assert "of rex" in told["damaged", photos[0].digest].used_by[0]
    assert "Add the same photo again" in told["missing", photos[1].digest].remedy
    assert told["damaged", studio.loras.get("rex").digest].used_by == ("lora rex@v1",)
    check = _verified(workspace)
    assert (check.state, check.detail.split(",")[0]) == ("problem", "2 damaged")


@pytest.mark.parametrize("loss", [flip, Path.unlink])
def test_the_same_photo_again_takes_the_place_of_one_that_is_lost(
    studio: Studio, tmp_path: Path, loss: Callable[[Path], object]
) -> None:
    workspace = studio._workspace
    lost = studio.photos.all("rex")[1]
    loss(blob_of(workspace, lost.digest))
    assert not verify(studio).sound
    (tmp_path / "again.png").write_bytes(encoded(picture(1)))
    job = studio.photos.add("rex", [tmp_path / "again.png"])
    with workspace.database.read() as session:
        request = intake.IntakeRequest.from_json(session.get_one(JobRow, job.id).request["stages"][0])
    intake._take_in(StageContext(workspace, job.id, {}), request)
    assert [photo.digest for photo in studio.photos.all("rex")].count(lost.digest) == 1
    assert len(studio.photos.all("rex")) == 3
    assert workspace.blobs.read(lost.digest)
    assert verify(studio).sound


def test_strays_are_told_and_only_they_are_removed(studio: Studio) -> None:
    workspace = studio._workspace
    home = studio.settings.home
    stray = workspace.blobs.place(workspace.blobs.put(b"nobody's"))
    young = workspace.blobs.place(workspace.blobs.put(b"on its way to a row"))
    left = stray.with_name(f"{stray.name}#1")
    left.write_bytes(b"half")
    folder = home / "runs" / "job_0123456789abcdef"
    folder.mkdir(parents=True)
    upload = home / "uploads" / "upload_0123456789abcdef"
    upload.parent.mkdir(exist_ok=True)
    upload.write_bytes(b"x")
    mine = home / "notes.txt"
    mine.write_text("of the user")
    for path in (stray, left, folder, upload, mine):
        os.utime(path, (1, 1))
    found = verify(studio)
    assert found.sound
    assert {one.name for one in found.findings} == {str(path) for path in (stray, left, folder, upload)}
    assert verify(studio, remove_stray=True).counts == {"stray": 4}
    assert not any(path.exists() for path in (stray, left, folder, upload))
    assert young.exists()
    assert mine.exists()
    assert verify(studio).findings == ()


def test_rows_that_name_what_is_not_there(studio: Studio) -> None:
    with studio._workspace.database._writer.connect() as connection:
        raw = connection.connection.driver_connection
        assert raw is not None
        raw.execute("PRAGMA foreign_keys=OFF")
        raw.execute("DELETE FROM limner_subjects WHERE slug = 'rex'")
        raw.commit()
    found = verify(studio)
    assert not found.sound
    assert any("names a row of limner_subjects that is not there" in one.name for one in found.findings)


def test_it_goes_on_where_it_was_stopped(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = studio._workspace
    job = studio.maintenance.verify()
    with workspace.database.read() as session:
        request = verification.VerifyRequest.from_json(session.get_one(JobRow, job.id).request["stages"][0])
    read: list[str] = []
    plain = verification.file_digest

    def counted(path: Path) -> str:
        read.append(path.name)
        if len(read) == 2:
            studio.cancel(job.id)
        return plain(path)

    monkeypatch.setattr(verification, "file_digest", counted)
    context = StageContext(workspace, job.id, {})
    context.progress._looked = -1.0
    monkeypatch.setattr(type(context.progress), "cancelled", property(lambda self: len(read) >= 2))
    with pytest.raises(LimnerError, match="Stopped as you asked"):
        verification._verify(context, request)
    monkeypatch.setattr(type(context.progress), "cancelled", property(lambda self: False))
    result = verification._verify(StageContext(workspace, job.id, {}), request)
    assert result["files"] == 4
    assert len(read) == len(set(read)) == 4, "each file is read once"


# --- nothing damaged is handed on ---------------------------------------------------------------------------------

Act = Callable[[Studio, Path], object]
READERS: dict[str, Act] = {
    "export a lora": lambda studio, folder: studio.loras.export("rex", folder / "x.safetensors"),
    "export it in another naming": lambda studio, folder: studio.loras.export(
        "rex", folder / "x.safetensors", naming="kohya"
    ),
    "download a lora": lambda studio, folder: studio.loras.file("rex"),
    "see a photo": lambda studio, folder: photo_picture(studio._workspace, "rex", studio.photos.all("rex")[0].digest),
    "crop a photo": lambda studio, folder: studio.photos.crop_picture("rex", studio.photos.all("rex")[0].digest),
    "freeze and package": lambda studio, folder: studio.datasets.package(
        studio.datasets.freeze("rex", allow_few=True).digest, "kohya", folder / "out"
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_who_reads_a_damaged_file_is_refused_and_told(studio: Studio, tmp_path: Path, name: str) -> None:
    workspace = studio._workspace
    for digest in workspace.blobs.digests():
        workspace.blobs.path(digest)  # read before: what is remembered must not hide a change
        flip(blob_of(workspace, digest))
    with pytest.raises(StorageFailed, match="is damaged") as refused:
        READERS[name](studio, tmp_path)
    assert "limner verify" in refused.value.remedy
    assert not (tmp_path / "x.safetensors").exists()
    assert not list(tmp_path.glob("*.partial"))


def test_a_file_is_read_once_until_it_changes(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    from limner.store import blobs

    read = []
    plain = blobs.file_digest
    monkeypatch.setattr(blobs, "file_digest", lambda path: read.append(path) or plain(path))
    digest = studio.loras.get("rex").digest
    for _ in range(3):
        studio.loras.file("rex")
    assert len(read) == 1
    blob_of(studio._workspace, digest).unlink()
    with pytest.raises(NotFound, match="is missing"):
        studio.loras.file("rex")
