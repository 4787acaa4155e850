"""Files, folders, zips and globs, and all that can be wrong with them."""

from __future__ import annotations

import io
import os
import socket
import stat
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import StorageFailed
from limner.photos import IntakeLimits, Source, find_sources
from limner.photos.reading.sources import printable
from tests.photos.making import LIMITS, encoded, picture, take

PHOTO = encoded(picture(0, 80, 72))


def found(paths: Sequence[str | Path], workdir: Path, limits: IntakeLimits = LIMITS) -> list[tuple[str, str]]:
    """Names of the sources, each with the code of its refusal or ''."""
    sources = list(find_sources(paths, workdir, limits))
    assert len(sources) == len(find_sources(paths, workdir, limits))
    return [(source.name, source.refusal.code if source.refusal else "") for source in sources]


def packed(path: Path, entries: dict[str, bytes] | list[tuple[zipfile.ZipInfo, bytes]]) -> Path:
    pairs = entries.items() if isinstance(entries, dict) else entries
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in pairs:
            archive.writestr(name, data)
    return path


def below(root: Path, names: Sequence[str]) -> Path:
    for name in names:
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(PHOTO)
    return root


def test_folders_are_sorted_and_gone_through_to_the_bottom(tmp_path: Path) -> None:
    root = below(tmp_path / "in", ["b.jpg", "a/z.png", "a/b/c.heic", "c.JPG", "A.jpg", "no-suffix"])
    below(root, [".hidden.jpg", ".cache/x.jpg", "__MACOSX/y.jpg", "Thumbs.db", "a/z.txt", "captions.csv", "notes.md"])
    names = [name.removeprefix(f"{root}/") for name, _ in found([root], tmp_path)]
    assert names == ["A.jpg", "a/b/c.heic", "a/z.png", "b.jpg", "c.JPG", "no-suffix"]


def test_caption_files_are_no_photos_even_when_named(tmp_path: Path) -> None:
    root = below(tmp_path / "in", ["a.jpg", "a.txt", "all.csv", "all.jsonl"])
    assert found(sorted(root.iterdir()), tmp_path) == [(f"{root}/a.jpg", "")]


def test_what_is_named_twice_is_taken_once(tmp_path: Path) -> None:
    root = below(tmp_path / "in", ["a.jpg", "b.jpg"])
    assert len(found([root / "b.jpg", root, root / "a.jpg", f"{root}/*.jpg"], tmp_path)) == 2


def test_folder_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    root = below(tmp_path / "in", ["a/photo.jpg"])
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "self").symlink_to("self")
    names = found([root], tmp_path)
    assert (f"{root}/a/photo.jpg", "") in names and len(names) == 2
    assert dict(names)[f"{root}/a/self"] == "unreadable"


def test_globs(tmp_path: Path) -> None:
    root = below(tmp_path / "in", ["a.jpg", "b.png", "sub/c.jpg", "[x].jpg"])
    assert [Path(name).name for name, _ in found([f"{root}/*.jpg"], tmp_path)] == ["[x].jpg", "a.jpg"]
    assert [Path(name).name for name, _ in found([f"{root}/**/*.jpg"], tmp_path)] == ["[x].jpg", "a.jpg", "c.jpg"]
    assert found([f"{root}/[x].jpg"], tmp_path) == [(f"{root}/[x].jpg", "")]
    assert found([f"{root}/*.heic"], tmp_path) == [(f"{root}/*.heic", "not-there")]


def test_what_is_not_there_or_holds_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    packed(tmp_path / "empty.zip", {"readme.txt": b"nothing"})
    named = [tmp_path / name for name in ("missing.jpg", "empty", "link", "empty.zip", "x" * 5000, "nul\0byte")]
    assert [code for _, code in found(named, tmp_path)] == [
        "not-there",
        "no-photos",
        "not-there",
        "no-photos",
        "unreadable",
        "unreadable",
    ]


def test_pipes_sockets_and_devices_are_not_opened(tmp_path: Path) -> None:
    root = below(tmp_path / "in", ["a.jpg"])
    os.mkfifo(root / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(root / "socket.jpg"))
        assert [code for _, code in found([root, "/dev/zero"], tmp_path)] == ["", *["not-a-file"] * 3]


def test_names_of_every_kind(tmp_path: Path) -> None:
    names = ["ELF.jpg", "Größe ü.jpg", "elf.jpg", "日本語 🐶.jpg", "e\u0301.jpg", "a'b\"c;$(x).jpg", "x" * 250 + ".jpg"]
    root = below(tmp_path / "in", names)
    (root / os.fsdecode(b"not-utf8-\xff.jpg")).write_bytes(PHOTO)
    (root / "tab\tescape\x1b[31m.jpg").write_bytes(PHOTO)
    results = take(root, tmp_path / "work")
    assert len(results) == len(names) + 2
    assert sum(result.photo is not None for result in results) == 1, "they are all the same picture"
    for result in results:
        result.report.source.encode("utf-8")
        assert result.report.source.isprintable()
        assert result.photo or [finding.code for finding in result.report.findings][-1] == "duplicate"


@given(st.text(st.characters(exclude_categories=())), st.binary())
def test_printable_names_can_be_stored_and_shown(name: str, raw: bytes) -> None:
    for given_name in (name, os.fsdecode(raw)):
        shown = printable(given_name)
        assert len(shown) == len(given_name) and not any(letter < " " or letter == "\x7f" for letter in shown)
        assert shown.encode("utf-8").decode("utf-8") == shown


def test_a_zip_is_taken_in_like_a_folder(tmp_path: Path) -> None:
    entries = {
        "set/b.png": encoded(picture(1)),
        "a.JPG": encoded(picture(2), "JPEG"),
        "set/b.txt": b"a caption",
        "__MACOSX/set/._b.png": b"\0\x05\x16\x07",
        "set/._b.png": b"\0\x05\x16\x07",
        ".DS_Store": b"x",
        "set/": b"",
    }
    album = packed(tmp_path / "album.zip", entries)
    results = take(album, tmp_path / "work")
    assert [result.report.source for result in results] == [f"{album}/a.JPG", f"{album}/set/b.png"]
    assert all(result.photo for result in results)
    assert len(list((tmp_path / "work").iterdir())) == 2, "what was unpacked is deleted"


def zip_entry(name: str, mode: int = 0) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = mode << 16
    return info


@pytest.mark.parametrize(
    ("name", "mode", "code"),
    [
        ("../evil.jpg", 0, "unsafe-path"),
        ("a/../../evil.jpg", 0, "unsafe-path"),
        ("/etc/evil.jpg", 0, "unsafe-path"),
        ("C:\\evil.jpg", 0, "unsafe-path"),
        ("..\\evil.jpg", 0, "unsafe-path"),
        ("\\\\server\\share\\evil.jpg", 0, "unsafe-path"),
        ("link.jpg", stat.S_IFLNK | 0o777, "link-in-zip"),
        ("device.jpg", stat.S_IFCHR | 0o666, "not-a-file"),
        ("disk.jpg", stat.S_IFBLK | 0o666, "not-a-file"),
        ("pipe.jpg", stat.S_IFIFO | 0o666, "not-a-file"),
        ("inner.zip", 0, "zip-in-zip"),
    ],
)
def test_dangerous_entries_of_a_zip(name: str, mode: int, code: str, tmp_path: Path) -> None:
    inside = tmp_path / "deep" / "work"
    inside.mkdir(parents=True)
    album = packed(tmp_path / "a.zip", [(zip_entry(name, mode), b"/etc/passwd"), (zip_entry("good.png"), PHOTO)])
    # Each has an entry in the report, and the good one beside it is taken.
    assert sorted(got for _, got in found([album], inside)) == ["", code]
    outside = {file.name for file in tmp_path.rglob("*") if file.is_file() and file.parent != inside}
    assert outside == {"a.zip"}


def test_a_zip_inside_a_zip_under_another_name(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("a.jpg", PHOTO)
    album = packed(tmp_path / "a.zip", {"inner.jpg": inner.getvalue(), "ok.png": PHOTO})
    assert found([album], tmp_path) == [(f"{album}/inner.jpg", "not-a-photo"), (f"{album}/ok.png", "")]


def test_a_zip_inside_a_folder_is_to_be_named_itself(tmp_path: Path) -> None:
    root = below(tmp_path / "in", ["a.jpg"])
    packed(root / "b.zip", {"c.jpg": PHOTO})
    assert [code for _, code in found([root], tmp_path)] == ["", "zip-in-folder"]


def test_zip_bombs(tmp_path: Path) -> None:
    one = packed(tmp_path / "one.zip", {"big.png": PHOTO + bytes(30_000_000), "ok.png": PHOTO})
    assert {code for _, code in found([one], tmp_path)} == {"zip-bomb"}
    mixed = packed(tmp_path / "mixed.zip", {"big.png": PHOTO + bytes(30_000_000), "ok.png": os.urandom(200_000)})
    assert dict(found([mixed], tmp_path))[f"{mixed}/big.png"] == "zip-bomb"
    small = packed(tmp_path / "small.zip", {f"{number}.png": PHOTO for number in range(20)})
    assert found([small], tmp_path, IntakeLimits(max_zip_bytes=len(PHOTO) * 19)) == [(str(small), "zip-bomb")]
    assert found([small], tmp_path, IntakeLimits(max_zip_entries=19)) == [(str(small), "zip-bomb")]
    assert len(found([small], tmp_path, IntakeLimits(max_zip_entries=20))) == 20
    assert {code for _, code in found([small], tmp_path, IntakeLimits(max_file_bytes=100))} == {"file-too-large"}


def test_a_zip_that_lies_about_a_size_gives_no_more_than_it_says(tmp_path: Path) -> None:
    album = packed(tmp_path / "a.zip", {"a.png": PHOTO + bytes(5_000_000)})
    data = bytearray(album.read_bytes())
    for magic, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.index(magic) + place
        data[at : at + 4] = (1000).to_bytes(4, "little")
    album.write_bytes(data)
    (source,) = find_sources([album], tmp_path, LIMITS)
    assert source.refusal is not None and source.refusal.code == "broken-zip"
    assert not list(tmp_path.glob("unpacked-*"))


def test_a_damaged_zip_and_a_damaged_entry(tmp_path: Path) -> None:
    noise = os.urandom(50_000)
    album = packed(tmp_path / "a.zip", {"a.png": PHOTO[:100] + noise, "b.png": PHOTO})
    data = album.read_bytes()
    (tmp_path / "cut.zip").write_bytes(data[: len(data) // 2])
    (tmp_path / "noise.zip").write_bytes(b"\x01\x02\xfe" * 9)
    assert [code for _, code in found([tmp_path / "cut.zip", tmp_path / "noise.zip"], tmp_path)] == ["broken-zip"] * 2
    at = data.index(noise[1000:1100])
    album.write_bytes(data[:at] + bytes(100) + data[at + 100 :])
    assert found([album], tmp_path) == [(f"{album}/a.png", "broken-zip"), (f"{album}/b.png", "")]


def test_an_entry_without_a_name(tmp_path: Path) -> None:
    packed(tmp_path / "a.zip", {"x": b"x", "b.jpg": encoded(picture(), "JPEG")})
    data = (tmp_path / "a.zip").read_bytes()
    at = data.index(b"PK\x01\x02")  # the first entry of the list at the end; its name is one letter, now of length 0
    (tmp_path / "a.zip").write_bytes(data[: at + 28] + b"\0\0" + data[at + 30 : at + 46] + data[at + 47 :])
    assert [code for _, code in found([tmp_path / "a.zip"], tmp_path / "work")] == ["broken-zip"]


def test_a_zip_locked_with_a_password(tmp_path: Path) -> None:
    album = packed(tmp_path / "a.zip", {"a.png": PHOTO})
    data = bytearray(album.read_bytes())
    for magic, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + place] |= 1
    album.write_bytes(data)
    assert found([album], tmp_path) == [(f"{album}/a.png", "encrypted")]


def test_names_in_a_zip_that_differ_in_case_or_are_very_long(tmp_path: Path) -> None:
    names = ["Elf.png", "elf.png", "日本語 🐶.png", "x" * 60_000 + ".png"]
    album = packed(tmp_path / "a.zip", {name: encoded(picture(number)) for number, name in enumerate(names)})
    results = take(album, tmp_path / "work")
    assert sorted(result.report.source for result in results) == sorted(f"{album}/{name}" for name in names)
    assert all(result.photo for result in results)


@given(st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=5, unique=True))
@settings(max_examples=40, deadline=None)
def test_names_of_zip_entries_never_lead_anywhere(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        workdir = root / "work"
        workdir.mkdir()
        try:
            album = packed(root / "a.zip", dict.fromkeys(names, PHOTO))
        except (UnicodeEncodeError, ValueError, IndexError):
            return
        for source in find_sources([album], workdir, LIMITS):
            assert source.refusal or source.path.parent == workdir
        assert {file.name for file in root.iterdir()} == {"a.zip", "work"}


def test_a_full_disk_while_unpacking(tmp_path: Path) -> None:
    album = packed(tmp_path / "a.zip", {"a.png": PHOTO})
    # /dev/full takes no byte, as a full disk.
    (tmp_path / "unpacked-000000").symlink_to("/dev/full")
    with pytest.raises(StorageFailed, match="unpacked"):
        list(find_sources([album], tmp_path, LIMITS))


def test_sources_are_unpacked_one_by_one(tmp_path: Path) -> None:
    album = packed(tmp_path / "a.zip", {f"{number}.png": PHOTO for number in range(5)})
    sources = iter(find_sources([album], tmp_path, LIMITS))
    first = next(sources)
    assert isinstance(first, Source) and first.temporary
    assert len(list(tmp_path.glob("unpacked-*"))) == 1
