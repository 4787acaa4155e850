"""Captions: cleaned, filled, read from sidecars and tables, and paired with photos by name."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import string
import unicodedata
import zipfile
from pathlib import Path

import pytest
from frozen import SUBJECT
from hypothesis import given
from hypothesis import strategies as st

from limner.datasets.captions.encoding import decode
from limner.datasets.captions.files import read_captions
from limner.datasets.captions.pairing import CaptionBook
from limner.datasets.captions.tables import read_csv, read_json, read_jsonl
from limner.datasets.captions.template import DEFAULT_TEMPLATE, clean_caption, fill, has_trigger, plain_braces
from limner.errors import CaptionRefused
from limner.types import Severity

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
LINES = TEXTS.map(clean_caption).filter(bool)
NAMES = st.text(string.ascii_letters + string.digits + "äß_- ", min_size=1, max_size=12).map(str.strip).filter(bool)


def codes(book: CaptionBook) -> list[str]:
    return [finding.code for finding in book.findings]


def text_of(book: CaptionBook, source: str) -> str | None:
    found = book.find(source)
    return found.text if found else None


# --- one caption ------------------------------------------------------------------------------------------------


@given(TEXTS)
def test_a_clean_caption_is_one_printable_line_and_stays_so(text: str) -> None:
    line = clean_caption(text)
    assert clean_caption(line) == line == " ".join(line.split())
    assert not any(unicodedata.category(letter) == "Cc" for letter in line)
    assert unicodedata.is_normalized("NFC", line)


def test_what_is_no_caption_is_refused() -> None:
    with pytest.raises(CaptionRefused, match="4001 characters"):
        clean_caption("x" * 4001)
    with pytest.raises(CaptionRefused, match="surrogate"):
        clean_caption("half \ud83d here")
    assert clean_caption("x" * 4000) == "x" * 4000


def test_the_default_template_is_filled() -> None:
    assert fill(DEFAULT_TEMPLATE, SUBJECT) == "a photo of rex_dog dog"
    assert fill("[trigger] the {class_word}\n on {{grass}}", SUBJECT) == "rex_dog the dog on {grass}"


@pytest.mark.parametrize(("template", "named"), [("a {triger}", "{triger}"), ("{}", "{}"), ("{class}", "{class}")])
def test_an_unknown_placeholder_is_refused_by_name(template: str, named: str) -> None:
    with pytest.raises(CaptionRefused) as refusal:
        fill(template, SUBJECT)
    assert named in refusal.value.message


def test_a_near_placeholder_is_proposed() -> None:
    with pytest.raises(CaptionRefused) as refusal:
        fill("a {triger}", SUBJECT)
    assert "{trigger}" in refusal.value.remedy and "{class_word}" not in refusal.value.remedy


@pytest.mark.parametrize("template", ["", "  \n", "\x00"])
def test_an_empty_caption_is_refused(template: str) -> None:
    with pytest.raises(CaptionRefused, match="empty"):
        fill(template, SUBJECT)


@given(LINES)
def test_plain_braces_survive_filling(line: str) -> None:
    expected = line.replace("{trigger}", "rex_dog").replace("{class_word}", "dog").replace("[trigger]", "rex_dog")
    assert fill(plain_braces(line), SUBJECT) == clean_caption(expected)


@pytest.mark.parametrize(
    ("caption", "there"),
    [
        ("a photo of rex_dog", True),
        ("rex_dog, sitting", True),
        ("{trigger} sits", True),
        ("[trigger] sits", True),
        ("a photo of rex_doggy", False),
        ("Rex_dog sits", False),
        ("a dog", False),
    ],
)
def test_the_trigger_counts_as_words_of_its_own(caption: str, there: bool) -> None:
    assert has_trigger(caption, "rex_dog") is there


# --- tables -----------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(NAMES, LINES), max_size=6), st.sampled_from([",", ";", "\t"]), st.sampled_from(["\n", "\r\n"])
)
def test_csv_gives_back_what_was_written(rows: list[tuple[str, str]], delimiter: str, end: str) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end)
    writer.writerow(["Caption", "other", "File"])
    writer.writerows([line, "", name] for name, line in rows)
    assert [row for _, row in read_csv(text.getvalue())] == rows


@given(st.lists(st.tuples(NAMES, LINES), max_size=6))
def test_jsonl_gives_back_what_was_written(rows: list[tuple[str, str]]) -> None:
    text = "".join(json.dumps({"file_name": name, "text": line, "score": 1}) + "\n" for name, line in rows)
    assert [row for _, row in read_jsonl(text)] == rows


@given(TEXTS)
def test_any_text_is_read_as_a_table_without_an_exception(text: str) -> None:
    for reader in (read_csv, read_jsonl):
        for line, row in reader(text):
            assert line >= 1 and (isinstance(row, str) or len(row) == 2)


def test_csv_without_a_head_is_read_if_it_is_plain() -> None:
    assert list(read_csv("a.jpg,one\nb.png,two")) == [(1, ("a.jpg", "one")), (2, ("b.png", "two"))]
    ((line, problem),) = read_csv("colour,size\nred,2")
    assert line == 1 and "first row" in problem


def test_a_bad_row_names_its_line_and_the_others_stay() -> None:
    rows = list(read_csv('file,caption\na.jpg,one\nb.jpg\nc.jpg,"three\n'))
    assert rows[0] == (2, ("a.jpg", "one"))
    assert isinstance(rows[1][1], str) and rows[1][0] == 3
    assert isinstance(rows[2][1], str) and "CSV" in rows[2][1]
    rows = list(
        read_jsonl(
            '{"file_name":"a","text":"one"}\n{"file_name":1}\n[\n' + "[" * 100_000 + '\n{"image":"b","prompt":"two"}'
        )
    )
    assert [line for line, _ in rows] == [1, 2, 3, 4, 5]
    assert [isinstance(row, str) for _, row in rows] == [False, True, True, True, False]


# --- encodings --------------------------------------------------------------------------------------------------


@given(TEXTS, st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_utf8_and_marked_utf16_are_read(text: str, encoding: str) -> None:
    # A mark in front is none of the text, and a mark with zeros behind it is one of UTF-32.
    text = text.lstrip("\ufeff\x00")
    assert decode(text.encode(encoding), "a.txt") == text


@pytest.mark.parametrize(
    ("data", "offset"),
    [
        ("ハスキー犬、雪の中".encode("shift_jis"), 0),
        (codecs.BOM_UTF8 + b"ab\xff", 5),
        (codecs.BOM_UTF16_LE + "a".encode("utf-16-le") + b"\x00\xd8", 4),
        (b"\x89PNG\r\n\x1a\n", 0),
    ],
)
def test_a_wrong_encoding_is_refused_with_its_place(data: bytes, offset: int) -> None:
    with pytest.raises(CaptionRefused) as refusal:
        decode(data, "folder/a.txt")
    assert f"byte {offset}." in refusal.value.message and "folder/a.txt" in refusal.value.message


# --- folders ----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    for name in ("a.jpg", "B.JPG", "c.heic", "sub/a.jpg", "d.v2.png"):
        (root / name).write_bytes(b"picture")
    return root


def test_sidecars_are_found_and_paired(folder: Path) -> None:
    (folder / "a.txt").write_text("first\n line")
    (folder / "b.txt").write_text("second")
    (folder / "c.heic.txt").write_text("third")
    (folder / "sub/a.TXT").write_text("fourth")
    (folder / "d.v2.txt").write_text("fifth")
    for named in ([folder], sorted(path for path in folder.rglob("*.*") if path.suffix.lower() != ".txt")):
        book = read_captions(named)
        assert not book.findings
        assert text_of(book, str(folder / "a.jpg")) == "first line"
        assert text_of(book, "photos/a.jpg") == "first line"
        assert text_of(book, "B.JPG") == "second"
        assert text_of(book, "c.heic") == "third"
        assert text_of(book, "sub/a.jpg") == "fourth"
        assert text_of(book, r"photos\sub\a.jpg") == "fourth"
        assert text_of(book, "d.v2.png") == "fifth"
        assert text_of(book, "nothing.jpg") is None
        # Two folders have a caption for this name, so a bare name says too little.
        assert text_of(book, "a.jpg") is None
        found = book.find("sub/a.jpg")
        assert found is not None and found.origin == "sidecar"


def test_a_photo_takes_no_caption_of_another_folder(folder: Path) -> None:
    (folder / "a.txt").write_text("first")
    (folder / "sub/metadata.jsonl").write_text('{"file_name": "x.jpg", "text": "inner"}')
    book = read_captions([folder])
    assert text_of(book, "photos/sub/a.jpg") is None
    assert text_of(book, str(folder / "sub/a.jpg")) is None
    assert text_of(book, "photos/x.jpg") is None
    assert text_of(book, "photos/sub/x.jpg") == "inner"


def test_a_named_table_goes_before_sidecars_and_they_before_found_tables(folder: Path, tmp_path: Path) -> None:
    (folder / "a.txt").write_text("sidecar")
    (folder / "metadata.csv").write_text("file_name,text\na.jpg,found\nB.JPG,found\nc.heic,found\n")
    (tmp_path / "mine.csv").write_text("file,caption\nB.JPG,named\nsub/a.jpg,named\n")
    book = read_captions([folder, tmp_path / "mine.csv"])
    assert text_of(book, "photos/a.jpg") == "sidecar"
    assert text_of(book, "photos/B.JPG") == "named"
    assert text_of(book, "photos/c.heic") == "found"
    assert text_of(book, str(folder / "sub/a.jpg")) == "named"
    assert codes(book) == []
    photos = [str(folder / name) for name in ("a.jpg", "B.JPG", "c.heic", "sub/a.jpg")]
    (outranked,) = book.pairing_findings(photos)
    assert outranked.code == "caption-outranked"
    assert f"metadata.csv, line 2 ({folder / 'a.txt'} goes before it)" in outranked.message
    assert f"metadata.csv, line 3 ({tmp_path / 'mine.csv'}, line 2 goes before it)" in outranked.message
    assert "goes before .txt" in outranked.remedy


def test_case_counts_only_where_it_must(tmp_path: Path) -> None:
    table = tmp_path / "t.jsonl"
    rows = [("IMG.jpg", "upper"), ("img.jpg", "lower"), ("Dog.PNG", "dog")]
    table.write_text("\n".join(json.dumps({"file_name": name, "text": text}) for name, text in rows))
    book = read_captions([table])
    assert text_of(book, "IMG.jpg") == "upper"
    assert text_of(book, "img.jpg") == "lower"
    assert text_of(book, "Img.jpg") is None
    assert text_of(book, "dog.png") == "dog"


def test_names_in_either_unicode_form_are_the_same(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(unicodedata.normalize("NFD", "file,caption\nGrüße.jpg,hello\n"), encoding="utf-8")
    assert text_of(read_captions([table]), unicodedata.normalize("NFC", "x/Grüße.jpg")) == "hello"


def test_bad_caption_files_are_findings_and_the_rest_stays(folder: Path) -> None:
    (folder / "a.txt").write_bytes("Grüße".encode("cp1252"))
    (folder / "B.txt").write_text("good")
    (folder / "c.txt").write_text("a {weird} one")
    (folder / "d.v2.txt").write_text(" \n")
    (folder / "README.txt").write_text("about these photos")
    (folder / "sub/a.txt").write_bytes(b"x" * 100_000)
    (folder / "sub/bad.csv").write_text("colour\nred\n")
    book = read_captions([folder, folder / "missing.csv"])
    assert text_of(book, "photos/B.JPG") == "good"
    assert sorted(codes(book)) == [
        "caption-empty",
        "caption-encoding",
        "caption-file-large",
        "caption-file-missing",
        "caption-refused",
        "caption-row-unreadable",
    ]
    encoding = next(finding for finding in book.findings if finding.code == "caption-encoding")
    assert "a.txt" in encoding.message and "Windows-1252" in encoding.message
    assert text_of(book, "photos/a.jpg") == "Grüße"
    assert encoding.severity is Severity.WARNING and encoding.remedy


def test_captions_for_missing_photos_and_shared_ones_are_findings(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("file,caption\na.jpg,one\nb.jpg,two\nb.jpg,three\n")
    book = read_captions([table])
    assert codes(book) == ["caption-duplicate"] and text_of(book, "b.jpg") == "two"
    assert not book.pairing_findings(["x/a.jpg", "x/b.jpg"])
    (missing,) = book.pairing_findings(["a.jpg"])
    assert missing.code == "caption-without-photo" and "b.jpg" in missing.message
    (shared,) = book.pairing_findings(["x/a.jpg", "y/a.jpg", "b.jpg"])
    assert shared.code == "caption-shared"


def test_captions_are_read_from_zips(tmp_path: Path) -> None:
    album = tmp_path / "album.zip"
    with zipfile.ZipFile(album, "w") as archive:
        archive.writestr("set/a.jpg", b"picture")
        archive.writestr("set/a.txt", "from a zip")
        archive.writestr("b.jpg", b"picture")
        archive.writestr("metadata.jsonl", '{"file_name": "b.jpg", "text": "from a table"}')
        archive.writestr("__MACOSX/set/._a.txt", b"\xff\xff")
        archive.writestr("set/big.jpg", b"picture")
        archive.writestr("set/big.txt", b"x" * 10_000_000, zipfile.ZIP_DEFLATED)
    book = read_captions([album])
    for source in (
        "album.zip/set/a.jpg",
        "album.zip!set/a.jpg",
        "album.zip:set/a.jpg",
        "album.zip → set/a.jpg",
        "set/a.jpg",
        "a.jpg",
    ):
        assert text_of(book, source) == "from a zip"
    assert text_of(book, f"{album}/b.jpg") == "from a table"
    assert codes(book) == ["caption-file-large"]
    album.write_bytes(album.read_bytes()[:50])
    assert read_captions([album]) == CaptionBook()


def test_globs_links_and_strange_files_do_no_harm(folder: Path) -> None:
    (folder / "a.txt").write_text("first")
    (folder.parent / "secret").write_text("secret")
    (folder / "B.txt").symlink_to(folder.parent / "secret")
    os.mkfifo(folder / "c.txt")
    book = read_captions([folder / "*.jpg", folder / "B.JPG", folder / "nothing-here"])
    assert text_of(book, "a.jpg") == "first"
    assert text_of(book, "B.JPG") is None
    assert [caption.text for caption in read_captions([folder]).captions] == ["first"]


@given(st.dictionaries(NAMES.map(str.casefold), LINES, max_size=6), st.randoms())
def test_every_photo_gets_its_own_caption_in_any_order(rows: dict[str, str], chance: object) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        table = Path(place) / "t.jsonl"
        lines = [json.dumps({"file_name": f"{name}.jpg", "text": plain_braces(text)}) for name, text in rows.items()]
        chance.shuffle(lines)  # type: ignore[attr-defined]
        table.write_text("\n".join(lines), encoding="utf-8")
        book = read_captions([table])
    for name, text in rows.items():
        assert text_of(book, f"some/where/{name}.jpg") == plain_braces(text)


# --- other programs' captions -----------------------------------------------------------------------------------


@given(TEXTS.map(lambda text: text.strip("\ufeff\x00")).filter(lambda text: len(text) > 1), st.booleans())
def test_text_of_windows_and_of_unmarked_utf16_is_read(text: str, big: bool) -> None:
    try:
        windows = text.encode("cp1252")
    except UnicodeEncodeError:
        windows = b""
    # What is UTF-8 as well is read as that.
    if windows and not any(unicodedata.category(c) == "Cc" for c in text):
        try:
            expected = windows.decode("utf-8")
        except UnicodeDecodeError:
            expected = text
        assert decode(windows, "a.txt") == expected
    latin = "Hund, " + "".join(c for c in text if 0x20 <= ord(c) < 0x250)
    assert decode(latin.encode("utf-16-be" if big else "utf-16-le"), "a.txt") == latin


@pytest.mark.parametrize(
    ("document", "rows"),
    [
        ({"a": {"caption": "sits", "tags": "grass, sun"}}, [("a", "sits, grass, sun")]),
        ({"a": {"tags": "1dog, sun"}, "b.png": {"caption": "runs"}}, [("a", "1dog, sun"), ("b.png", "runs")]),
        ({"/d/a.png": {"caption": "x", "train_resolution": [512, 768]}}, [("/d/a.png", "x")]),
        ({"a.png": "plain"}, [("a.png", "plain")]),
        (
            [{"file_name": "a.png", "text": "x"}, {"image_path": "b.png", "prompt": "y"}],
            [("a.png", "x"), ("b.png", "y")],
        ),
    ],
)
def test_json_of_the_field_is_read(document: object, rows: list[tuple[str, str]]) -> None:
    assert [row for _, row in read_json(json.dumps(document))] == rows


@given(TEXTS)
def test_any_text_is_read_as_json_without_an_exception(text: str) -> None:
    for wrapped in (text, json.dumps(text), json.dumps({text: text}), json.dumps([text])):
        for _, row in read_json(wrapped):
            assert isinstance(row, str) or len(row) == 2


def test_of_several_captions_for_a_photo_one_order_decides(tmp_path: Path) -> None:
    """Each source is taken away in turn: the next one in the documented order wins, and the others are said to lose."""
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"picture")
    named = tmp_path / "named.csv"
    sources = {
        named: "file,caption\na.jpg,named\n",
        folder / "a.jpg.txt": "whole name",
        folder / "a.txt": "txt",
        folder / "a.caption": "caption",
        folder / "metadata.jsonl": '{"file_name": "a.jpg", "text": "jsonl"}',
        folder / "meta_cap.json": '{"a": {"caption": "json"}}',
    }
    for path, text in sources.items():
        path.write_text(text)
    for left, (path, expected) in enumerate(
        zip(sources, ("named", "whole name", "txt", "caption", "jsonl", "json"), strict=True)
    ):
        book = read_captions([folder, named] if named.exists() else [folder])
        assert text_of(book, str(folder / "a.jpg")) == expected
        found = book.pairing_findings([str(folder / "a.jpg")])
        losers = len(sources) - left - 1
        assert [one.code for one in found] == (["caption-outranked"] if losers else [])
        assert not losers or (found[0].message.count("goes before it") == losers and "a.jpg" not in found[0].remedy)
        path.unlink()
