"""Captions that come after their photos: by the folder again, a table, a drop; filled, asked about, taken back."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from limner import Studio
from limner.errors import CaptionRefused, NotFound, PhotoRefused
from limner.operations.jobs.context import StageContext
from limner.operations.photos import job as intake
from limner.records import Job
from limner.settings import Settings
from limner.store.models import JobRow, now
from tests.operations.conftest import draw_photos


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = draw_photos(tmp_path_factory.mktemp("drawn"), 3)
    (folder / "photo-0.txt").unlink()
    return folder


@pytest.fixture
def folder(drawn: Path, tmp_path: Path) -> Path:
    """Three photos without a caption."""
    copied = tmp_path / "photos"
    copied.mkdir()
    for file in drawn.iterdir():
        (copied / file.name).write_bytes(file.read_bytes())
    return copied


@pytest.fixture
def still(tmp_path: Path) -> Iterator[Studio]:
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as studio:
        studio.subjects.add("rex", kind="pet", class_word="dog")
        yield studio


def taken(studio: Studio, job: Job) -> dict[str, Any]:
    """Do an intake in this process; its result, which its row has then too."""
    with studio._workspace.database.read() as session:
        (wanted,) = session.get_one(JobRow, job.id).request["stages"]
    result = intake._take_in(StageContext(studio._workspace, job.id, {}), wanted)
    with studio._workspace.database.write() as session:
        row = session.get_one(JobRow, job.id)
        row.result, row.ended_at, row.state = result, now(), "done"
    return result


def add(studio: Studio, paths: Sequence[Path] = (), **options: Any) -> dict[str, Any]:
    return taken(studio, studio.photos.add("rex", paths, **options))


def captions(studio: Studio) -> dict[str, str]:
    return {photo.source.rpartition("/")[2]: photo.caption for photo in studio.photos.all("rex")}


def found(result: dict[str, Any], code: str) -> list[dict[str, Any]]:
    return [one for one in result["caption_findings"] if one["code"] == code]


def drop(studio: Studio, files: dict[str, bytes], **options: Any) -> dict[str, Any]:
    batch = studio.uploads.open("rex").id
    for name, data in files.items():
        upload = studio.uploads.add("rex", batch, name, len(data))
        with studio.uploads.receive(upload.id, 0) as receiver:
            receiver.write(data)
    return taken(studio, studio.uploads.commit(batch, len(files), **options))


# --- every way that a caption can come later --------------------------------------------------------------------


def beside(studio: Studio, folder: Path) -> dict[str, Any]:
    (folder / "photo-1.txt").write_text("a late one")
    return add(studio, [folder])


def dot_caption(studio: Studio, folder: Path) -> dict[str, Any]:
    (folder / "photo-1.caption").write_text("a late one")
    return add(studio, [folder / "photo-1.png"])


def table_alone(studio: Studio, folder: Path) -> dict[str, Any]:
    (folder.parent / "c.csv").write_text("file,caption\nphoto-1.png,a late one\n")
    return add(studio, captions=[folder.parent / "c.csv"])


def table_of_windows(studio: Studio, folder: Path) -> dict[str, Any]:
    (folder.parent / "c.jsonl").write_text(json.dumps({"file_name": r"D:\train\photo-1.png", "text": "a late one"}))
    return add(studio, captions=[folder.parent / "c.jsonl"])


def kohya(studio: Studio, folder: Path) -> dict[str, Any]:
    (folder.parent / "meta_cap.json").write_text(json.dumps({"/data/photo-1": {"caption": "a late one"}}))
    return add(studio, [folder], captions=[folder.parent / "meta_cap.json"])


def folder_of_captions(studio: Studio, folder: Path) -> dict[str, Any]:
    (folder.parent / "words").mkdir()
    (folder.parent / "words/photo-1.txt").write_text("a late one")
    return add(studio, [folder.parent / "words"])


def zipped(studio: Studio, folder: Path) -> dict[str, Any]:
    with zipfile.ZipFile(folder.parent / "a.zip", "w") as archive:
        archive.write(folder / "photo-1.png", "x/photo-1.png")
        archive.writestr("x/photo-1.txt", "a late one")
    return add(studio, [folder.parent / "a.zip"])


def dropped_alone(studio: Studio, folder: Path) -> dict[str, Any]:
    return drop(studio, {"photo-1.txt": b"a late one"})


def dropped_json(studio: Studio, folder: Path) -> dict[str, Any]:
    return drop(studio, {"meta_cap.json": json.dumps({"photo-1": {"tags": "a late one"}}).encode()})


def dropped_with_its_photo(studio: Studio, folder: Path) -> dict[str, Any]:
    photo = (folder / "photo-1.png").read_bytes()
    return drop(studio, {"d/photo-1.png": photo, "d/photo-1.txt": b"a late one"})


WAYS = (
    beside,
    dot_caption,
    table_alone,
    table_of_windows,
    kohya,
    folder_of_captions,
    zipped,
    dropped_alone,
    dropped_json,
    dropped_with_its_photo,
)
Way = Callable[[Studio, Path], dict[str, Any]]


@pytest.mark.parametrize("way", WAYS)
def test_a_late_caption_fills_an_empty_one_and_never_replaces_unasked(way: Way, still: Studio, folder: Path) -> None:
    add(still, [folder])
    assert captions(still) == {"photo-0.png": "", "photo-1.png": "", "photo-2.png": ""}
    result = way(still, folder)
    assert captions(still) == {"photo-0.png": "", "photo-1.png": "a late one", "photo-2.png": ""}
    assert result["captions_filled"] == 1 and result["captions_offered"] == {}
    assert "photo-1.png" in found(result, "caption-filled")[0]["message"]
    assert still.captions.offered("rex").changes == ()


def test_another_caption_is_kept_offered_and_answered(still: Studio, folder: Path) -> None:
    (folder / "photo-0.txt").write_text("first")
    (folder / "photo-1.txt").write_text("second")
    add(still, [folder])
    assert add(still, [folder])["captions_offered"] == {}
    (folder / "photo-0.txt").write_text("new first")
    (folder / "photo-1.txt").write_text("new second")
    result = add(still, [folder])
    assert captions(still)["photo-0.png"] == "first"
    (kept,) = found(result, "caption-kept")
    assert "'first'" in kept["message"] and "'new first'" in kept["message"] and "--replace-captions" in kept["remedy"]
    offers = still.captions.offered("rex").changes
    assert [(one.before, one.after) for one in offers] == [("first", "new first"), ("second", "new second")]
    with pytest.raises(NotFound):
        still.captions.answer("rex", replace=True, photos=["0" * 64])
    done = still.captions.answer("rex", replace=True, photos=[offers[0].photo[:10]])
    assert [one.after for one in done.changes] == ["new first"]
    assert captions(still)["photo-0.png"] == "new first" and captions(still)["photo-1.png"] == "second"
    assert still.captions.answer("rex", replace=False).changes == ()
    assert still.captions.offered("rex").changes == () and captions(still)["photo-1.png"] == "second"
    still.captions.undo("rex")
    assert captions(still)["photo-0.png"] == "first"


def test_with_consent_they_are_replaced_and_can_be_taken_back(still: Studio, folder: Path) -> None:
    (folder / "photo-0.txt").write_text("first")
    add(still, [folder])
    (folder / "photo-0.txt").write_text("new first")
    (folder / "photo-1.txt").write_text("second")
    result = add(still, [folder], replace_captions=True)
    assert (result["captions_replaced"], result["captions_filled"]) == (1, 1)
    assert captions(still)["photo-0.png"] == "new first"
    still.captions.undo("rex")
    assert captions(still) == {"photo-0.png": "first", "photo-1.png": "", "photo-2.png": ""}
    assert drop(still, {"photo-0.txt": b"dropped"}, replace_captions=True)["captions_replaced"] == 1


def test_a_caption_that_fits_several_photos_is_given_to_none(still: Studio, folder: Path) -> None:
    for number in (0, 1):
        (folder / str(number)).mkdir()
        (folder / f"photo-{number}.png").rename(folder / str(number) / "a.png")
    add(still, [folder])
    result = drop(still, {"a.txt": b"which?", "photo-2.txt": b"this one"})
    assert sorted(captions(still).values()) == ["", "this one"]
    assert "2 photos" in found(result, "caption-undecided")[0]["message"]
    assert found(result, "caption-without-photo") == []


# --- files that are named ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["missing.csv", "photo-0.png", "notes.docx"])
def test_a_named_file_that_holds_no_captions_is_refused_before_anything(name: str, still: Studio, folder: Path) -> None:
    (folder / "notes.docx").write_bytes(b"PK")
    with pytest.raises(CaptionRefused, match=name):
        still.photos.add("rex", [folder], captions=[folder / name])
    assert still.jobs.all("rex") == []


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json"])
def test_rows_that_are_not_used_are_told_with_their_file(suffix: str, still: Studio, folder: Path) -> None:
    rows = {f"other-{number}.png": f"caption {number}" for number in range(12)}
    some = {"photo-0.png": "used", **rows}
    for name, table in (("none", rows), ("some", some)):
        text = json.dumps(table)
        if suffix == ".jsonl":
            text = "\n".join(json.dumps({"file_name": file, "prompt": words}) for file, words in table.items())
        elif suffix != ".json":
            cut = "," if suffix == ".csv" else "\t"
            text = "\n".join(["file" + cut + "caption", *(f"{file}{cut}{words}" for file, words in table.items())])
        (folder.parent / f"{name}{suffix}").write_text(text)
    result = add(still, [folder], captions=[folder.parent / f"none{suffix}"])
    (unused,) = found(result, "captions-unused")
    assert unused["severity"] == "refusal" and f"none{suffix}" in unused["message"]
    assert "'other-0.png'" in unused["message"] and "and 2 more" in unused["message"]
    result = add(still, captions=[folder.parent / f"some{suffix}"])
    (part,) = found(result, "caption-without-photo")
    assert "12 of 13" in part["message"] and captions(still)["photo-0.png"] == "used"
    with pytest.raises(PhotoRefused, match=f"Nothing of .*none{suffix}"):
        add(still, captions=[folder.parent / f"none{suffix}"])


def test_kohyas_folders_are_taken_in_once_and_said(still: Studio, folder: Path) -> None:
    folder = folder.rename(folder.parent / "10_rex dog")
    (folder / "photo-0.caption").write_text("of kohya")
    (folder / "photo-0.npz").write_bytes(b"PK\x03\x04 latents")
    (folder / "meta_lat.json").write_text(
        json.dumps({"photo-1": {"caption": "sits", "tags": "grass, sun", "train_resolution": [512, 512]}})
    )
    (folder / "photo-2.png.json").write_text(json.dumps({"title": "photo-2.png", "description": "of a phone"}))
    result = add(still, [folder])
    assert captions(still) == {"photo-0.png": "of kohya", "photo-1.png": "sits, grass, sun", "photo-2.png": ""}
    assert "10_rex dog" in found(result, "kohya-folder")[0]["message"]


def test_what_photos_say_themselves_is_taken_only_where_asked(still: Studio, folder: Path) -> None:
    from PIL import Image

    for number, (given, own) in enumerate((("", "own zero"), ("beside", "own one"), ("", "own {two}"))):
        with Image.open(folder / f"photo-{number}.png") as image:
            exif = Image.Exif()
            exif[0x010E] = own
            image.save(folder / f"photo-{number}.png", exif=exif)
        if given:
            (folder / f"photo-{number}.txt").write_text(given)
    add(still, [folder])
    assert captions(still) == {"photo-0.png": "", "photo-1.png": "beside", "photo-2.png": ""}
    result = add(still, [folder], captions_from_photos=True)
    assert captions(still) == {"photo-0.png": "own zero", "photo-1.png": "beside", "photo-2.png": "own {{two}}"}
    (outranked,) = found(result, "caption-outranked")
    assert "photo-1.png" in outranked["message"] and "photo-1.txt goes before it" in outranked["message"]
