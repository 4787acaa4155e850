"""Thumbnails: small, upright, whole or not at all, drawn in little memory, and gone when their picture is."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from limner import Studio
from limner.errors import InputRefused, NotFound, StorageFailed
from limner.operations.home import thumbnails
from limner.records import StoredPicture
from limner.settings import Settings
from tests.web.pictures_made import add_generation, add_photo, add_subject, keep, png


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    # A folder's name with brackets would be read as options of the decoder.
    with Studio(settings=Settings(home=tmp_path / "home [page=2]", start_worker=False)) as made:
        yield made


def stored(studio: Studio, data: bytes, media_type: str = "image/png") -> StoredPicture:
    digest = keep(studio, data, media_type)
    return StoredPicture(digest, media_type, "picture.png", studio._workspace.blobs.path(digest))


def cache(studio: Studio) -> list[Path]:
    return sorted(path for path in (studio.settings.home / "cache").rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("size", "width", "made"),
    [
        ((900, 600), 320, (320, 213)),
        ((100, 50), 1280, (100, 50)),
        ((60, 2000), 160, (19, 640)),
        ((1, 1), 160, (1, 1)),
        ((3000, 2), 160, (160, 1)),
    ],
)
def test_it_is_as_wide_as_asked_for_and_never_larger_than_the_picture(
    studio: Studio, size: tuple[int, int], width: int, made: tuple[int, int]
) -> None:
    path = studio.gallery.thumbnail(stored(studio, png(1, size)), width)
    with Image.open(path) as small:
        assert (small.format, small.size) == ("WEBP", made)


def test_it_is_upright_and_says_nothing_of_the_camera(studio: Studio, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Camera"
    Image.new("RGB", (400, 200), (9, 99, 9)).save(tmp_path / "a.jpg", exif=exif)
    path = studio.gallery.thumbnail(stored(studio, (tmp_path / "a.jpg").read_bytes(), "image/jpeg"), 160)
    with Image.open(path) as small:
        assert small.size == (160, 320)
        assert not small.getexif()
    assert b"Camera" not in path.read_bytes()


def test_it_is_drawn_once(studio: Studio) -> None:
    picture = stored(studio, png(2, (400, 300)))
    assert studio.gallery.drawn_thumbnail(picture, 160) is None
    path = studio.gallery.thumbnail(picture, 160)
    path.write_bytes(b"kept")
    assert studio.gallery.thumbnail(picture, 160).read_bytes() == b"kept"
    # What a machine that lost its power left is drawn anew.
    path.write_bytes(b"")
    assert studio.gallery.drawn_thumbnail(picture, 160) is None
    assert studio.gallery.thumbnail(picture, 160).read_bytes().startswith(b"RIFF")


@pytest.mark.parametrize("width", [0, -320, 321, 10**9])
def test_other_widths_are_refused(studio: Studio, width: int) -> None:
    with pytest.raises(InputRefused):
        studio.gallery.thumbnail(stored(studio, png()), width)
    assert cache(studio) == []


def test_what_is_no_picture_is_refused_and_what_is_damaged_is_named(studio: Studio) -> None:
    whole = png(3, (500, 400), text="t" * 500)
    with pytest.raises(InputRefused):
        studio.gallery.thumbnail(stored(studio, b"<svg/>", "application/octet-stream"), 160)
    for data in (whole[: len(whole) // 2], whole[:20], b"\x89PNG\r\n\x1a\n<svg onload='x()'/>"):
        with pytest.raises(StorageFailed, match="cannot be decoded"):
            studio.gallery.thumbnail(stored(studio, data), 160)
    assert cache(studio) == []


def test_nothing_half_is_left_where_the_disk_is_full(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = stored(studio, png(4, (400, 300)))

    def full(self: Path, data: bytes) -> int:
        self.touch()
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(StorageFailed, match="No space left"):
            studio.gallery.thumbnail(picture, 160)
    assert cache(studio) == []
    assert studio.gallery.thumbnail(picture, 160).is_file()


def test_it_goes_with_its_subject(studio: Studio) -> None:
    add_subject(studio, "zib")
    add_subject(studio, "ann")
    photo = studio.gallery.photo_picture("zib", add_photo(studio, "zib", png(5, (300, 300))))
    (image,) = add_generation(studio, "aa", subjects=["zib"])
    other = studio.gallery.photo_picture("ann", add_photo(studio, "ann", png(6, (300, 300))))
    for picture in (photo, studio.gallery.picture(image), other):
        for width in studio.gallery.widths:
            studio.gallery.thumbnail(picture, width)
    # A process that was killed while drawing left this.
    cache(studio)[0].with_name(f"{photo.digest}-0123.partial").parent.mkdir(exist_ok=True)
    thumbnails._folder(studio._workspace, photo.digest).joinpath(f"{photo.digest}-0123.partial").write_bytes(b"half")
    assert studio.erasure.erase("zib").left == ()
    assert {path.name[:64] for path in cache(studio)} == {other.digest}


def test_it_is_not_kept_if_its_picture_is_erased_meanwhile(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    (image,) = add_generation(studio, "aa")
    picture = studio.gallery.picture(image)
    draw = thumbnails._smaller

    def slow(chosen: StoredPicture, width: int) -> bytes:
        data = draw(chosen, width)
        studio.gallery.delete([image])
        return data

    monkeypatch.setattr(thumbnails, "_smaller", slow)
    with pytest.raises(NotFound, match="was erased"):
        studio.gallery.thumbnail(picture, 160)
    assert cache(studio) == []


def test_many_who_ask_for_the_same_get_the_same(studio: Studio) -> None:
    picture = stored(studio, png(7, (1200, 900)))
    got: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: got.append(studio.gallery.thumbnail(picture, 640).read_bytes()))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 16
    assert len(set(got)) == 1
    assert len(cache(studio)) == 1


MEASURED = """
import resource, sys
from pathlib import Path
from limner.operations.home.thumbnails import _smaller
from limner.photos.reading.decoding import vips
from limner.records import StoredPicture
path = Path(sys.argv[1])
small = StoredPicture("0" * 64, sys.argv[2], "a", Path(sys.argv[3]))
_smaller(small, 320)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
_smaller(StoredPicture("0" * 64, sys.argv[2], "a", path), 320)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.parametrize(("ending", "most"), [("jpg", 60), ("png", 60)])
def test_a_photo_of_100_megapixels_takes_little_memory(tmp_path: Path, ending: str, most: int) -> None:
    from limner.photos.reading.decoding import vips

    large, small = tmp_path / f"large.{ending}", tmp_path / f"small.{ending}"
    vips().Image.black(12_500, 8_000, bands=3).write_to_file(str(large))
    vips().Image.black(64, 64, bands=3).write_to_file(str(small))
    kind = "image/jpeg" if ending == "jpg" else "image/png"
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(large), kind, str(small)], capture_output=True, text=True, check=True
    )
    # Decoded whole it would take 300 MB.
    assert int(done.stdout) < most
