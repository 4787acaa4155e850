"""A larger copy of a photo takes its place, with caption and crop; folders of devices bring nothing in."""

from __future__ import annotations

import itertools
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import delete

from limner import Studio
from limner.operations.home import blob_erasure
from limner.operations.jobs.context import StageContext
from limner.operations.photos import job as intake
from limner.records import Job
from limner.settings import Settings
from limner.store.models import PhotoRow
from limner.types import Crop, Verdict
from tests.photos.making import encoded, picture


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as studio:
        studio.subjects.add("rex", kind="pet", class_word="dog")
        yield studio


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """One picture in three sizes, and another one."""
    folder = tmp_path / "photos"
    folder.mkdir()
    whole = picture(1, 450, 360)
    for name, width in (("a-small.png", 150), ("b-half.jpg", 225), ("c-whole.png", 450)):
        small = whole.resize((width, width * 4 // 5), Image.Resampling.LANCZOS)
        (folder / name).write_bytes(encoded(small, "JPEG" if name.endswith("jpg") else "PNG"))
    (folder / "other.png").write_bytes(encoded(picture(2, 128, 128)))
    return folder


def add(studio: Studio, paths: Sequence[Path]) -> tuple[Job, dict[str, int]]:
    job = studio.photos.add("rex", paths)
    context = StageContext(studio._workspace, job.id, {})
    return job, intake._take_in(context, intake.make_request("rex", paths))


def sizes(studio: Studio) -> list[tuple[int, int]]:
    return sorted((photo.width, photo.height) for photo in studio.photos.all("rex"))


def test_the_order_of_the_files_does_not_matter(studio: Studio, copies: Path) -> None:
    names = ["a-small.png", "b-half.jpg", "c-whole.png", "other.png"]
    for number, order in enumerate([*itertools.permutations(names)][::7]):
        studio.subjects.add(f"rex-{number}", kind="pet", class_word="dog")
        paths = [copies / name for name in order]
        job = studio.photos.add(f"rex-{number}", paths)
        request = intake.make_request(f"rex-{number}", paths)
        result = intake._take_in(StageContext(studio._workspace, job.id, {}), request)
        photos = studio.photos.all(f"rex-{number}")
        assert sorted(Path(photo.source).name for photo in photos) == ["c-whole.png", "other.png"]
        assert result["refused"] == 2 and result["accepted"] + result["warned"] == 2
        entries = studio.photos.report(f"rex-{number}", job.id)
        gone = [entry for entry in entries if entry.report.verdict is Verdict.REFUSED]
        assert len(entries) == 4 and len(gone) == 2 and not any(entry.photo for entry in gone)
        assert all(entry.report.duplicate_of for entry in gone)


def test_a_larger_copy_keeps_caption_and_crop(studio: Studio, copies: Path) -> None:
    add(studio, [copies / "a-small.png"])
    (old,) = studio.photos.all("rex")
    studio.photos.set_captions("rex", {old.digest: "a dog on a lawn"})
    studio.photos.set_crop("rex", old.digest, Crop(30, 40, 80, 70))
    job, result = add(studio, [copies / "c-whole.png"])
    (new,) = studio.photos.all("rex")
    assert (new.width, new.height) == (450, 360) and new.digest != old.digest and result["refused"] == 0
    assert (new.caption, new.caption_from) == ("a dog on a lawn", "hand")
    assert new.crop == Crop(90, 120, 240, 210) and new.source.endswith("c-whole.png")
    (entry,) = studio.photos.report("rex", job.id)
    assert entry.photo == new.digest and entry.report.findings[-1].code == "better-copy"
    # Nothing is left of the smaller one.
    blob_erasure.finish(studio._workspace)
    assert not studio._workspace.blobs.has(old.digest) and studio._workspace.blobs.has(new.digest)


def test_a_caption_of_the_smaller_file_goes_along(studio: Studio, copies: Path) -> None:
    (copies / "a-small.txt").write_text("the small one", encoding="utf-8")
    add(studio, [copies])
    assert {Path(photo.source).name: photo.caption for photo in studio.photos.all("rex")} == {
        "c-whole.png": "the small one",
        "other.png": "",
    }


def test_the_kept_files_own_caption_counts_first(studio: Studio, copies: Path) -> None:
    (copies / "a-small.txt").write_text("the small one", encoding="utf-8")
    (copies / "c-whole.txt").write_text("the whole one", encoding="utf-8")
    add(studio, [copies])
    assert "the whole one" in [photo.caption for photo in studio.photos.all("rex")]


def test_what_a_dataset_froze_stays_and_is_said(studio: Studio, copies: Path) -> None:
    add(studio, [copies / "a-small.png", copies / "other.png"])
    for number in range(3, 6):
        (copies / f"more-{number}.png").write_bytes(encoded(picture(number, 128, 128)))
        add(studio, [copies / f"more-{number}.png"])
    studio.datasets.freeze("rex")
    before = sizes(studio)
    job, result = add(studio, [copies / "c-whole.png"])
    assert sizes(studio) == before and result["refused"] == 1
    (entry,) = studio.photos.report("rex", job.id)
    assert "frozen dataset" in entry.report.reason and "450 × 360" in entry.report.reason


def test_a_smaller_copy_changes_nothing(studio: Studio, copies: Path) -> None:
    add(studio, [copies / "c-whole.png"])
    _, result = add(studio, [copies / "a-small.png"])
    assert sizes(studio) == [(450, 360)] and result["refused"] == 1


def test_an_intake_that_is_run_again_ends_the_same(studio: Studio, copies: Path) -> None:
    """A step is run again when its process died, wherever that was."""
    add(studio, [copies / "a-small.png"])
    paths = [copies / name for name in ("b-half.jpg", "other.png", "c-whole.png")]
    job = studio.photos.add("rex", paths)
    for lost in (False, True, False):
        if lost:
            with studio._workspace.database.write() as session:
                session.execute(delete(PhotoRow).where(PhotoRow.width == 128))
        intake._take_in(StageContext(studio._workspace, job.id, {}), intake.make_request("rex", paths))
        assert sizes(studio) == [(128, 128), (450, 360)]
        assert [bool(one.photo) for one in studio.photos.report("rex", job.id)] == [False, True, True]


def test_two_subjects_share_what_one_lets_go_of(studio: Studio, copies: Path) -> None:
    add(studio, [copies / "a-small.png"])
    (old,) = studio.photos.all("rex")
    studio.subjects.add("other", kind="pet", class_word="dog")
    job = studio.photos.add("other", [copies / "a-small.png"])
    request = intake.make_request("other", [copies / "a-small.png"])
    intake._take_in(StageContext(studio._workspace, job.id, {}), request)
    add(studio, [copies / "c-whole.png"])
    blob_erasure.finish(studio._workspace)
    assert studio._workspace.blobs.has(old.digest) and [one.digest for one in studio.photos.all("other")] == [
        old.digest
    ]


PASSED_OVER = ["@eaDir/a.jpg/T.jpg", ".git/x.jpg", "sub/.thumbnails/y.jpg", "#recycle/z.jpg", "sub/._a.jpg"]


@pytest.mark.parametrize("way", ["folder", "zip", "upload", "glob"])
def test_one_rule_for_folders_zips_uploads_and_globs(way: str, studio: Studio, tmp_path: Path) -> None:
    root = tmp_path / "in"
    wanted = ["good.png", "sub/fine.png"]
    for number, name in enumerate([*wanted, *PASSED_OVER]):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded(picture(number, 128, 128)))
    (root / "sub" / "fine.npz").write_bytes(b"PK\x03\x04cache")
    files = sorted(file for file in root.rglob("*") if file.is_file())
    if way == "upload":
        batch = studio.uploads.open("rex").id
        for file in files:
            data = file.read_bytes()
            upload = studio.uploads.add("rex", batch, f"in/{file.relative_to(root)}", len(data))
            with studio.uploads.receive(upload.id, 0) as receiver:
                receiver.write(data)
        job = studio.uploads.commit(batch, len(files))
        request = intake.IntakeRequest(subject="rex", batch=batch)
        result = intake._take_in(StageContext(studio._workspace, job.id, {}), request)
    elif way == "zip":
        with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
            for file in files:
                archive.write(file, file.relative_to(root))
        job, result = add(studio, [tmp_path / "in.zip"])
    else:
        job, result = add(studio, [root if way == "folder" else Path(f"{root}/**")])
    entries = studio.photos.report("rex", job.id)
    assert sorted(Path(entry.report.source).name for entry in entries) == ["fine.png", "good.png"]
    assert all(entry.photo for entry in entries)
    said = {one["code"]: one["message"] for one in result["caption_findings"]}
    assert ".npz" in said["caches-passed-over"]
    # What an upload brings of it is not even laid out, so there is nothing to count.
    assert way == "upload" or "@eaDir" in said["device-folders-passed-over"]


def test_what_is_named_itself_is_taken(studio: Studio, tmp_path: Path) -> None:
    for number, name in enumerate(["@eaDir/a.png", ".hidden/b.png", ".c.png", "x/.d/e.png"]):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(encoded(picture(number, 128, 128)))
    root = tmp_path / "in"
    add(studio, [root / "@eaDir", root / ".hidden", root / ".c.png", Path(f"{root}/*/.d/*.png")])
    assert sorted(Path(one.source).name for one in studio.photos.all("rex")) == [".c.png", "a.png", "b.png", "e.png"]
