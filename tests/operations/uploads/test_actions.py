"""Uploads: bytes resume where they stopped, names stay text, a batch becomes one intake and its files go."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from limner import Studio
from limner.errors import Conflict, InputRefused, NotFound, StorageFailed
from limner.operations.uploads.receiver import LOOK_AGAIN, DigestDiffers, Room
from limner.operations.uploads.safe_layout import safe_path, shown_name
from limner.records import Upload
from limner.settings import Settings
from limner.store.models import now
from limner.store.web_models import UploadRow
from tests.operations.conftest import draw_photos


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Studio]:
    """A studio whose jobs wait until the test does them."""
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as studio:
        studio.subjects.add("zibbo", kind="character")
        yield studio


def send(studio: Studio, batch: str, name: str, data: bytes, *, slug: str = "zibbo", piece: int = 1 << 20) -> Upload:
    upload = studio.uploads.add(slug, batch, name, len(data))
    for at in range(0, len(data), piece):
        with studio.uploads.receive(upload.id, at) as receiver:
            receiver.write(data[at : at + piece])
    return studio.uploads.get(upload.id)


def folder_of(studio: Studio) -> list[str]:
    folder = studio.settings.home / "uploads"
    return sorted(file.name for file in folder.iterdir()) if folder.exists() else []


def test_a_batch_is_taken_in_with_captions_folders_and_zips(still: Studio, tmp_path: Path) -> None:
    drawn = draw_photos(tmp_path / "drawn", 5)
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(drawn / "photo-3.png", "inside/photo-3.png")
    batch = still.uploads.open("zibbo").id
    hostile = '../../<script>\n\u202egnp.x"'
    send(still, batch, f"{hostile}/photo-0.txt", (drawn / "photo-0.txt").read_bytes())
    send(still, batch, f"{hostile}/photo-0.png", (drawn / "photo-0.png").read_bytes())
    send(still, batch, "a/same.png", (drawn / "photo-1.png").read_bytes())
    send(still, batch, "same.png", (drawn / "photo-2.png").read_bytes())
    send(still, batch, "same.png", (drawn / "photo-4.png").read_bytes())
    send(still, batch, "more.zip", (tmp_path / "more.zip").read_bytes())
    send(still, batch, "empty.jpg", b"")
    job = still.uploads.commit(batch, 7)
    assert still.uploads.commit(batch, 7).id == job.id
    still.work(idle_seconds=0.0)
    ended = still.wait(job)
    assert ended.result["accepted"] + ended.result["warned"] == 5, still.photos.report("zibbo")
    (refused,) = [one.report for one in still.photos.report("zibbo") if not one.photo]
    assert (refused.source, refused.findings[0].code) == ("empty.jpg", "empty-file")
    photos = still.photos.all("zibbo")
    shown = shown_name(hostile)
    assert {photo.source for photo in photos} == {
        f"{shown}/photo-0.png",
        "a/same.png",
        "same.png",
        "same.png (2)",
        "more.zip/inside/photo-3.png",
    }
    captioned = next(photo for photo in photos if photo.source.endswith("photo-0.png"))
    assert captioned.caption == "a drawing of {trigger} with circles"
    assert captioned.report.source_digest == hashlib.sha256((drawn / "photo-0.png").read_bytes()).hexdigest()
    assert str(still.settings.home) not in str(still.photos.report("zibbo"))
    assert str(still.settings.home) not in str(ended.result)
    assert folder_of(still) == []
    digest = hashlib.sha256((drawn / "photo-1.png").read_bytes()).hexdigest()
    assert list(still.uploads.known("zibbo", [digest, "0" * 64])) == [digest]
    with pytest.raises(Conflict):
        still.uploads.add("zibbo", batch, "late.png", 3)


def test_a_file_and_a_folder_of_one_name_come_together(still: Studio, tmp_path: Path) -> None:
    drawn = draw_photos(tmp_path / "drawn", 4)
    batch = still.uploads.open("zibbo").id
    names = ["trip/a.png", "trip", "a.png/b.png", "A.PNG", "a.png/deep/c.png"]
    for name, number in zip(names, (0, None, 1, 2, 3), strict=True):
        data = b"no picture" if number is None else (drawn / f"photo-{number}.png").read_bytes()
        send(still, batch, name, data)
    send(still, batch, "trip/a.txt", (drawn / "photo-0.txt").read_bytes())
    job = still.uploads.commit(batch, 6)
    still.work(idle_seconds=0.0)
    assert still.wait(job).state == "done"
    photos = {photo.source: photo.caption for photo in still.photos.all("zibbo")}
    assert set(photos) == {"trip/a.png", "a.png/b.png", "A.PNG", "a.png/deep/c.png"}
    assert photos["trip/a.png"] == "a drawing of {trigger} with circles"


def test_an_intake_that_died_before_its_row_gives_the_same_result(still: Studio, tmp_path: Path) -> None:
    from limner.operations.jobs.context import StageContext
    from limner.operations.photos import job as intake

    drawn = draw_photos(tmp_path / "drawn", 3)
    batch = still.uploads.open("zibbo").id
    for number in range(3):
        send(still, batch, f"{number}.png", (drawn / f"photo-{number}.png").read_bytes())
    job = still.uploads.commit(batch, 3)
    wanted = {"stage": "intake", "subject": "zibbo", "paths": [], "captions": [], "batch": batch}
    first = intake._take_in(StageContext(still._workspace, job.id, {}), wanted)
    assert folder_of(still) == []
    assert intake._take_in(StageContext(still._workspace, job.id, {}), wanted) == first
    assert len(still.photos.all("zibbo")) == 3


def test_the_offset_is_what_lies_on_the_disk(still: Studio) -> None:
    data = os.urandom(100_000)
    batch = still.uploads.open("zibbo").id
    upload = still.uploads.add("zibbo", batch, "a.jpg", len(data))
    with pytest.raises(RuntimeError), still.uploads.receive(upload.id, 0) as receiver:
        receiver.write(data[:40_000])
        raise RuntimeError("the connection broke")
    with Studio(settings=still.settings) as later:
        assert later.uploads.get(upload.id).received == 40_000
        with pytest.raises(Conflict), later.uploads.receive(upload.id, 0):
            pass
        with later.uploads.receive(upload.id, 40_000) as receiver:
            with pytest.raises(Conflict), still.uploads.receive(upload.id, 40_000):
                pass
            receiver.write(data[40_000:])
            with pytest.raises(InputRefused):
                receiver.write(b"more")
        whole = later.uploads.get(upload.id)
    assert whole.whole
    assert whole.digest == hashlib.sha256(data).hexdigest()


def test_other_bytes_than_announced_are_thrown_away(still: Studio) -> None:
    batch = still.uploads.open("zibbo").id
    upload = still.uploads.add("zibbo", batch, "a.jpg", 4, digest=hashlib.sha256(b"this").hexdigest())
    with pytest.raises(DigestDiffers), still.uploads.receive(upload.id, 0) as receiver:
        receiver.write(b"that")
    assert still.uploads.get(upload.id).received == 0
    with still.uploads.receive(upload.id, 0) as receiver:
        receiver.write(b"this")
    assert still.uploads.get(upload.id).whole


def test_a_batch_is_taken_only_if_it_is_what_the_sender_means(still: Studio) -> None:
    batch = still.uploads.open("zibbo").id
    send(still, batch, "a.jpg", b"abc")
    with pytest.raises(Conflict, match="1 of 2"):
        still.uploads.commit(batch, 2)
    half = still.uploads.add("zibbo", batch, "b.jpg", 3)
    with pytest.raises(Conflict, match="not arrived whole"):
        still.uploads.commit(batch, 2)
    assert [len(one.uploads) for one in still.uploads.pending("zibbo")] == [2]
    still.uploads.remove(half.id)
    assert still.uploads.commit(batch, 1).kind == "intake"
    assert still.uploads.pending("zibbo") == []
    for gone in ("upload_0000000000000000", "../limner.db", half.id):
        with pytest.raises(NotFound):
            still.uploads.get(gone)


def test_the_same_announcement_again_is_the_same_upload(still: Studio) -> None:
    batch = still.uploads.open("zibbo").id
    first = still.uploads.add("zibbo", batch, "a.jpg", 3, position=7)
    assert still.uploads.add("zibbo", batch, "a.jpg", 3, position=7).id == first.id
    assert still.uploads.add("zibbo", batch, "a.jpg", 3, position=8).id != first.id


def test_limits(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", start_worker=False, max_upload_bytes=10, max_upload_files=1)
    with Studio(settings=settings) as studio:
        studio.subjects.add("zibbo", kind="character")
        batch = studio.uploads.open("zibbo").id
        with pytest.raises(InputRefused, match="at most 10"):
            studio.uploads.add("zibbo", batch, "a.jpg", 11)
        studio.uploads.add("zibbo", batch, "a.jpg", 10)
        with pytest.raises(InputRefused, match="at most 1 files"):
            studio.uploads.add("zibbo", batch, "b.jpg", 10)
        with pytest.raises(InputRefused):
            studio.uploads.add("zibbo", "../x", "b.jpg", 10)
        with pytest.raises(NotFound):
            studio.uploads.open("nobody")
    full_disk = settings.model_copy(update={"disk_reserve": 1 << 60})
    with Studio(settings=full_disk) as full, pytest.raises(StorageFailed, match="no room"):
        full.uploads.add("zibbo", full.uploads.open("zibbo").id, "a.jpg", 10)


def test_what_is_announced_and_not_sent_yet_has_its_room(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", start_worker=False, max_upload_bytes=1 << 60, disk_reserve=0)
    with Studio(settings=settings) as studio:
        studio.members.add("anna", "annas long password")
        studio.members.add("ben", "bens long password")
        anna, ben = studio.owned_by("anna"), studio.owned_by("ben")
        anna.subjects.add("zibbo", kind="character")
        ben.subjects.add("quux", kind="character")
        free = shutil.disk_usage(tmp_path).free
        large = free * 6 // 10
        batch, other = anna.uploads.open("zibbo").id, ben.uploads.open("quux").id
        first = anna.uploads.add("zibbo", batch, "a.zip", large, position=0)
        # Announced again it is the same, and takes no room twice.
        assert anna.uploads.add("zibbo", batch, "a.zip", large, position=0).id == first.id
        for add in (ben.uploads.add, ben.uploads.arrive):
            with pytest.raises(StorageFailed, match="no room"):
                add("quux", other, "b.zip", large)
        # Of what is here the disk knows itself. A hole in a file has its length, and takes no space.
        with anna.uploads.receive(first.id, 0):
            os.truncate(settings.home / "uploads" / first.id, free // 2)
        ben.uploads.add("quux", other, "b.zip", large)


def test_the_reserve_is_kept_while_bytes_arrive(still: Studio) -> None:
    batch = still.uploads.open("zibbo").id
    whole = still.uploads.add("zibbo", batch, "a.jpg", 6)
    still.settings.disk_reserve = 1 << 60
    with pytest.raises(StorageFailed, match="no room"), still.uploads.receive(whole.id, 0) as receiver:
        receiver.write(b"abc")
    for spool in (still.uploads.spool(), still.uploads.spool_lora()):
        with pytest.raises(StorageFailed, match="no room"):
            spool.write(b"abc")
        spool.discard()
    still.settings.disk_reserve = 0
    spool = still.uploads.spool()
    spool.write(b"abc")
    still.settings.disk_reserve = 1 << 60
    # It lies on the disk already.
    assert still.uploads.keep("zibbo", batch, "b.jpg", spool).whole


def test_the_disk_is_looked_at_again_every_few_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    room = Room(tmp_path, 0)
    monkeypatch.setattr(Room, "left", lambda self: looked.append(1) or LOOK_AGAIN * 2)
    for _ in range(64):
        room.take(LOOK_AGAIN // 32)
    assert len(looked) == 2
    with pytest.raises(StorageFailed):
        room.take(LOOK_AGAIN * 2 + 1)


def test_a_full_disk_keeps_what_arrived(still: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = still.uploads.open("zibbo").id
    upload = still.uploads.add("zibbo", batch, "a.jpg", 6)

    class Full:
        def __init__(self, stream: object) -> None:
            self.stream = stream

        def write(self, data: memoryview) -> int:
            if len(data) > 3:
                return self.stream.write(data[:3])  # type: ignore[attr-defined,no-any-return]
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            self.stream.close()  # type: ignore[attr-defined]

    with pytest.raises(StorageFailed, match="3 of 6"), still.uploads.receive(upload.id, 0) as receiver:
        monkeypatch.setattr(receiver, "_stream", Full(receiver._stream))
        receiver.write(b"abcdef")
    with still.uploads.receive(upload.id, 3) as receiver:
        receiver.write(b"def")
    assert still.uploads.get(upload.id).digest == hashlib.sha256(b"abcdef").hexdigest()


def test_what_expired_or_has_no_row_is_swept(still: Studio) -> None:
    batch = still.uploads.open("zibbo").id
    old, young = send(still, batch, "a.jpg", b"abc"), send(still, batch, "b.jpg", b"abc")
    stray = still.settings.home / "uploads" / "upload_feedfeedfeedfeed"
    stray.write_bytes(b"left by a crash")
    os.utime(stray, (0, 0))
    with still._workspace.database.write() as session:
        late = update(UploadRow).where(UploadRow.id == old.id).values(expires_at=now() - timedelta(hours=1))
        session.execute(late)
    assert still.uploads.sweep() == 1
    assert folder_of(still) == [young.id]


def test_erasing_a_subject_takes_its_uploads_along(still: Studio) -> None:
    send(still, still.uploads.open("zibbo").id, "a.jpg", b"abc")
    erasure = still.erasure.erase("zibbo")
    assert not erasure.left
    assert folder_of(still) == []


@pytest.mark.parametrize(
    "name",
    [
        "../../x.jpg",
        "/etc/passwd",
        "a\nb.jpg",
        "\u202egnp.x",
        "x" * 300 + ".jpg",
        "<script>.png",
        "",
        "..",
        "a\0b",
        "CON",
        "C:\\temp\\x.jpg",
        ".hidden",
        "~root",
        "a/../../../b.txt",
        " . ",
        "\ud800.jpg",
        "é" * 90 + ".jpg",
        "a*b?.jpg",
    ],
)
def test_a_name_never_leads_out_of_the_folder(name: str) -> None:
    parts = safe_path(name)
    assert parts
    for part in parts:
        assert part not in ("", ".", "..")
        assert not set(part) & set('/\\\0\n\r:*?"<>|')
        assert len(part.encode()) <= 130
    assert "\n" not in shown_name(name)


def test_stems_stay_together() -> None:
    for name in ("IMG 1", "a<b>", "../IMG", "x" * 300, "\u202ex"):
        photo, caption = safe_path(f"{name}.jpg"), safe_path(f"{name}.txt")
        assert (*photo[:-1], photo[-1].rpartition(".")[0]) == (*caption[:-1], caption[-1].rpartition(".")[0])
    assert safe_path("holiday/IMG 1.jpg") == ("holiday", "IMG 1.jpg")
