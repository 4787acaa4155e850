"""The gallery finds, counts, marks, packs and deletes pictures, each for whom they belong to."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Iterator
from datetime import date, timedelta, timezone
from pathlib import Path

import pytest
from zipstream import ng

from limner import Studio
from limner.errors import InputRefused, NotFound
from limner.generation.metadata.png import read_chunks, read_texts
from limner.operations.gallery import archive as picture_archive
from limner.operations.home import blob_erasure
from limner.records import GalleryFilter
from limner.settings import Settings
from limner.store.models import BlobRow, GenerationRow
from tests.web.pictures_made import add_generation, add_photo, add_subject, keep, png


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as made:
        yield made


@pytest.fixture
def many(studio: Studio) -> Studio:
    """Twelve pictures of four requests over three months."""
    add_subject(studio, "zib")
    add_subject(studio, "ann")
    add_generation(studio, "aa", prompt="Zibbo on 100% of the beach", subjects=["zib"], loras=["zib@v1"], count=4)
    add_generation(
        studio, "bb", prompt="ann_lee at night", subjects=["ann"], loras=["ann@v2"], count=3, day=20, seed=70
    )
    add_generation(
        studio, "cc", prompt="зибо на пляже", subjects=["zib", "ann"], loras=["zib@v2", "ann@v2"], count=2, day=21
    )
    add_generation(studio, "dd", prompt="plain", generator="together", count=3, day=60, seed=900)
    return studio


def found(studio: Studio, **wanted: object) -> list[int]:
    wish = GalleryFilter(**wanted)  # type: ignore[arg-type]
    page = studio.gallery.page(wish, limit=100)
    numbers = [image.id for image in page.images]
    assert page.total == len(numbers)
    assert numbers == sorted(numbers, reverse=True) == studio.gallery.ids(wish)
    assert sum(month.count for month in studio.gallery.months(wish)) == len(numbers)
    return numbers


def test_each_part_of_the_filter_finds_its_pictures(many: Studio) -> None:
    assert found(many) == list(range(12, 0, -1))
    assert found(many, subject="zib") == [9, 8, 4, 3, 2, 1]
    assert found(many, lora="zib@v1") == [4, 3, 2, 1]
    assert found(many, lora="zib") == [9, 8, 4, 3, 2, 1]
    assert found(many, lora="zi") == []
    assert found(many, generator="together") == [12, 11, 10]
    assert found(many, seed=71) == [6]
    assert found(many, seed=2**200) == []
    assert found(many, since=date(2026, 10, 4), until=date(2026, 10, 4)) == [7, 6, 5]
    assert found(many, until=date(2026, 9, 14)) == [4, 3, 2, 1]
    assert found(many, until=date(9999, 12, 31), since=date(2026, 11, 1)) == [12, 11, 10]
    assert found(many, subject="ann", lora="zib") == [9, 8]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("zibbo BEACH", [4, 3, 2, 1]),
        ("100%", [4, 3, 2, 1]),
        ("ann_lee", [7, 6, 5]),
        ("_", [7, 6, 5]),
        ("%", [4, 3, 2, 1]),
        ("\\", []),
        ("ПЛЯЖЕ", [9, 8]),
        ("Зибо", [9, 8]),
        ("' OR 1=1 --", []),
        ("x" * 10_000, []),
        ("a\0b", []),
    ],
)
def test_prompts_are_searched_for_words_of_any_script(many: Studio, text: str, numbers: list[int]) -> None:
    assert found(many, text=text) == numbers


def test_pages_by_cursor_go_through_all_and_back(many: Studio) -> None:
    first = many.gallery.page(limit=5)
    second = many.gallery.page(cursor=first.older, limit=5)
    third = many.gallery.page(cursor=second.older, limit=5)
    pages = [[image.id for image in page.images] for page in (first, second, third)]
    assert pages == [[12, 11, 10, 9, 8], [7, 6, 5, 4, 3], [2, 1]]
    assert (first.newer, third.older) == ("", "")
    assert many.gallery.page(cursor=third.newer, limit=5).images == second.images
    again = many.gallery.page(cursor=second.newer, limit=5)
    assert (again.images, again.newer, again.older) == (first.images, "", first.older)
    # What is new meanwhile moves nothing.
    add_generation(many, "ee")
    assert many.gallery.page(cursor=first.older, limit=5).images == second.images


def test_days_and_months_are_those_of_the_filters_zone(studio: Studio) -> None:
    add_subject(studio, "zib")
    add_generation(studio, "a", subjects=["zib"], day=16)  # 30 September at noon, UTC
    east = GalleryFilter(zone=timezone(timedelta(hours=14)))
    assert [month.month for month in studio.gallery.months()] == ["2026-09"]
    assert [month.month for month in studio.gallery.months(east)] == ["2026-10"]
    first = date(2026, 10, 1)
    assert studio.gallery.ids(GalleryFilter(since=first, until=first)) == []
    assert studio.gallery.ids(GalleryFilter(since=first, until=first, zone=east.zone)) == [1]
    assert east.empty


@pytest.mark.parametrize("cursor", ["x", "....", "PDEy\n", "é", "Ozs", "PDk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5OQ"])
def test_a_forged_cursor_is_refused(many: Studio, cursor: str) -> None:
    with pytest.raises(InputRefused):
        many.gallery.page(cursor=cursor)


def test_windows_months_and_places_agree(many: Studio) -> None:
    gallery = many.gallery
    assert [image.id for image in gallery.window(offset=3, limit=4)] == [9, 8, 7, 6]
    assert gallery.window(offset=12, limit=4) == ()
    for month in gallery.months():
        first = gallery.window(offset=month.offset, limit=1)[0]
        assert first.created_at.strftime("%Y-%m") == month.month
    assert [(month.month, month.count) for month in gallery.months()] == [
        ("2026-11", 3),
        ("2026-10", 5),
        ("2026-09", 4),
    ]
    wanted = GalleryFilter(subject="zib")
    assert [gallery.position(number, wanted) for number in gallery.ids(wanted)] == [0, 1, 2, 3, 4, 5]
    with pytest.raises(NotFound):
        gallery.position(12, wanted)
    with pytest.raises(InputRefused):
        gallery.window(offset=-1, limit=4)
    with pytest.raises(InputRefused):
        gallery.window(offset=0, limit=100_000)


def test_the_choices_are_what_there_is(many: Studio) -> None:
    choices = many.gallery.choices()
    assert choices.subjects == ("ann", "zib")
    assert choices.loras == ("ann@v2", "zib@v1", "zib@v2")
    assert choices.generators == ("local", "together")


def test_an_image_tells_how_it_was_made(many: Studio) -> None:
    detail = many.gallery.detail(8)
    assert detail.prompt == "зибо на пляже"
    assert [lora.name for lora in detail.loras] == ["zib@v2", "ann@v2"]
    assert (detail.subjects, detail.newer, detail.older) == (("ann", "zib"), 9, 7)
    detail = many.gallery.detail(4, GalleryFilter(subject="zib"))
    assert (detail.newer, detail.older) == (8, 3)
    assert many.gallery.detail(12).newer is None
    for number in (0, 13, -5, 2**70):
        with pytest.raises(NotFound):
            many.gallery.detail(number)


def test_favourites_are_marked_all_or_none(many: Studio) -> None:
    gallery = many.gallery
    before = gallery.version()
    assert gallery.set_favourite([3, 5, 3]) == 2
    assert found(many, favourite=True) == [5, 3]
    with pytest.raises(NotFound, match="image 99"):
        gallery.set_favourite([4, 99])
    marked = gallery.version()
    assert marked != before
    gallery.set_favourite([3], False)
    assert found(many, favourite=True) == [5]
    gallery.set_favourite([5], False)
    gallery.set_favourite([6])
    assert gallery.version() not in (before, marked)
    with pytest.raises(InputRefused):
        gallery.set_favourite([])


def test_the_version_changes_when_the_newest_is_replaced(many: Studio) -> None:
    before = many.gallery.version()
    many.gallery.delete([12])
    add_generation(many, "ff", day=61)
    assert many.gallery.version() != before


def test_the_number_of_a_deleted_picture_is_no_other_pictures(many: Studio) -> None:
    many.gallery.delete([12])
    assert add_generation(many, "ff", day=61) == [13]
    with pytest.raises(NotFound):
        many.gallery.delete([12])
    for number in (2**63, 10**30, -1):
        with pytest.raises(NotFound):
            many.generations.image(number)
        with pytest.raises(NotFound):
            many.generations.request_of(number)


def test_deleting_erases_the_file_and_its_thumbnails_but_not_the_wish(many: Studio) -> None:
    gallery, home = many.gallery, many.settings.home
    gone, kept = gallery.picture(1), gallery.picture(2)
    for picture in (gone, kept):
        for width in gallery.widths:
            gallery.thumbnail(picture, width)
    assert gallery.delete([1, 1]) == 1
    assert not gone.path.exists()
    assert kept.path.exists()
    left = list((home / "cache").rglob("*.webp"))
    assert left
    assert all(kept.digest in path.name for path in left)
    with many._workspace.database.read() as session:
        assert session.get(BlobRow, gone.digest) is None
        assert session.get(GenerationRow, "generation_aa") is not None
    assert found(many, subject="zib") == [9, 8, 4, 3, 2]
    with pytest.raises(NotFound):
        gallery.picture(1)


def test_deleting_keeps_bytes_that_something_else_has(studio: Studio) -> None:
    add_subject(studio, "zib")
    (image,) = add_generation(studio, "aa")
    data = studio.gallery.picture(image).path.read_bytes()
    digest = add_photo(studio, "zib", data)
    studio.gallery.delete([image])
    assert studio.gallery.photo_picture("zib", digest).path.read_bytes() == data


def test_nothing_is_deleted_if_one_is_missing(many: Studio) -> None:
    with pytest.raises(NotFound):
        many.gallery.delete([1, 2, 77])
    assert len(found(many)) == 12


def test_more_images_than_one_statement_names(studio: Studio) -> None:
    add_generation(studio, "aa", count=9)
    small = pytest.MonkeyPatch()
    small.setattr(blob_erasure, "AT_ONCE", 4)
    small.setattr(picture_archive, "AT_ONCE", 4)
    try:
        assert studio.gallery.archive(range(1, 10)).count == 9
        assert studio.gallery.set_favourite(range(1, 10)) == 9
        assert studio.gallery.delete(range(1, 10)) == 9
    finally:
        small.undo()
    assert not list((studio.settings.home / "blobs").glob("??/*"))


# --- the zip ----------------------------------------------------------------------------------------------------


def test_the_zip_has_the_originals_and_all_that_is_known(many: Studio) -> None:
    many.gallery.set_favourite([8])
    packed = many.gallery.archive([8, 2])
    data = b"".join(packed.chunks())
    assert len(data) == packed.byte_size
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        lines = [json.loads(line) for line in opened.read("metadata.jsonl").decode().splitlines()]
        assert opened.namelist() == ["metadata.jsonl", "cc-00-7.png", "aa-01-8.png"]
        for line in lines:
            original = many.gallery.picture(line["image"])
            assert opened.read(line["file"]) == original.path.read_bytes()
            assert line["sha256"] == original.digest
    first = lines[0]
    assert first["prompt"] == "зибо на пляже"
    assert first["loras"][0] == {"name": "zib@v2", "digest": "", "scale": 0.8}
    assert (first["favourite"], first["subjects"], first["base"]) == (True, ["ann", "zib"], "limner-tiny")
    assert {"seed", "steps", "guidance", "generator", "made_at", "width", "height", "seconds"} <= set(first)


def test_pictures_whose_names_are_alike_stay_apart(studio: Studio) -> None:
    add_generation(studio, "0123456789abcdef")
    add_generation(studio, "0123456799999999")
    with zipfile.ZipFile(io.BytesIO(b"".join(studio.gallery.archive([1, 2]).chunks()))) as opened:
        assert len(set(opened.namelist())) == 3


def test_a_picture_whose_file_is_lost_is_told_of(many: Studio) -> None:
    many.gallery.picture(2).path.unlink()
    packed = many.gallery.archive([1, 2])
    with zipfile.ZipFile(io.BytesIO(b"".join(packed.chunks()))) as opened:
        lines = [json.loads(line) for line in opened.read("metadata.jsonl").splitlines()]
    assert [bool(line["file"]) for line in lines] == [True, False]
    assert "missing" in lines[1]["problem"]
    with pytest.raises(InputRefused):
        many.gallery.archive([])
    with pytest.raises(NotFound):
        many.gallery.archive([1, 99])


@pytest.mark.parametrize(
    ("limit", "value", "count"), [("ZIP64_LIMIT", 100_000, 4), ("ZIP_FILECOUNT_LIMIT", 20, 30), ("ZIP64_LIMIT", 800, 9)]
)
def test_the_size_is_known_beyond_the_limits_of_short_zips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, value: int, count: int
) -> None:
    """2 GiB and 65,535 entries are where zips need longer lines: lowered here, so that small files reach them."""
    monkeypatch.setattr(ng, limit, value)
    size = 60_000 if count == 4 else 100
    picture = tmp_path / "picture"
    picture.write_bytes(b"p" * size)
    packed = picture_archive.Archive([(f"{n}.png", picture) for n in range(count)], b"{}\n")
    data = b"".join(packed.chunks())
    assert len(data) == packed.byte_size
    assert b"PK\x06\x06" in data  # the long end of the directory
    with zipfile.ZipFile(io.BytesIO(data)) as opened:
        assert opened.testzip() is None
        assert len(opened.namelist()) == count + 1


def test_a_large_picture_is_packed_by_pieces(tmp_path: Path) -> None:
    hole = tmp_path / "hole"
    with hole.open("wb") as stream:
        stream.truncate(40 * 2**20)
    packed = picture_archive.Archive([("a.png", hole)], b"")
    pieces = [len(piece) for piece in packed.chunks()]
    assert sum(pieces) == packed.byte_size
    assert max(pieces) < 2**20


def test_one_that_is_erased_while_the_zip_is_made_is_told(many: Studio) -> None:
    packed = many.gallery.archive([1, 2])
    many.gallery.picture(2).path.unlink()
    with pytest.raises(NotFound, match="erased"):
        list(packed.chunks())


def test_the_loras_of_a_request_are_kept_to_be_found_by(studio: Studio) -> None:
    from types import SimpleNamespace

    from sqlalchemy import select

    from limner.operations.generations import orders
    from limner.store.models import GenerationLoraRow

    uses = [SimpleNamespace(name=name, digest="", scale=1.0) for name in ("zib@v1", "ann/ink", "zib@v1", "")]
    numbers = {"width": 64, "height": 64, "steps": 4, "guidance": 1.0, "seed": 1, "count": 1}
    order = SimpleNamespace(
        id="generation_aa", prompt="a", base=SimpleNamespace(id="limner-tiny"), loras=uses, **numbers
    )
    with studio._workspace.database.write() as session:
        for _ in range(2):
            orders.add_row(session, SimpleNamespace(generator="local"), order, [])  # type: ignore[arg-type]
        assert set(session.scalars(select(GenerationLoraRow.lora))) == {"zib@v1", "ann/ink"}


def test_a_share_copy_has_the_pixels_and_the_mark_and_nothing_else(studio: Studio) -> None:
    from limner.generation.metadata.inspection import describe
    from limner.generation.metadata.pixels import pixel_digest

    (image,) = add_generation(studio, "aa", prompt="a secret prompt", seed=424_242)
    original = studio.gallery.picture(image).path
    assert b"secret" in original.read_bytes()
    copy = studio.gallery.share_copy(image)
    assert pixel_digest(copy) == pixel_digest(original)
    assert set(read_texts(read_chunks(copy))) == {"XML:com.adobe.xmp"}
    assert not any(word in copy for word in (b"secret", b"424242", b"zib", b"limner-tiny"))
    path = studio.settings.home / "copy.png"
    path.write_bytes(copy)
    assert describe(path)["ai_marks"] == ["XMP", "EXIF"]
    assert "record" in studio.gallery.inspect(image)


# --- whose they are ---------------------------------------------------------------------------------------------


def test_each_owner_has_a_gallery_of_their_own(studio: Studio) -> None:
    add_subject(studio, "zib", owner="ann")
    add_generation(studio, "aa", subjects=["zib"], loras=["zib@v1"], owner="ann", count=3)
    add_generation(studio, "bb", owner="ben", generator="together", count=2)
    ann, ben = studio.owned_by("ann").gallery, studio.owned_by("ben").gallery
    assert (ann.ids(), ben.ids()) == ([3, 2, 1], [5, 4])
    assert (ann.page().total, ben.page().total) == (3, 2)
    assert [month.count for month in ben.months()] == [2]
    assert [image.id for image in ben.window(offset=1, limit=10)] == [4]
    assert ben.choices().subjects == ben.choices().loras == ()
    assert ben.choices().generators == ("together",)
    assert ben.detail(4).older is None
    for ask in (ben.set_favourite, ben.delete, ben.archive):
        with pytest.raises(NotFound):
            ask([4, 1])
    for look in (ben.detail, ben.share_copy, ben.inspect, ben.position):
        with pytest.raises(NotFound):
            look(1)
    assert ann.ids() == [3, 2, 1]
    assert ben.delete([4]) == 1


def test_bytes_that_two_owners_have_outlive_the_first(studio: Studio) -> None:
    for slug in ("ann", "ben"):
        add_subject(studio, slug, owner=slug)
    (image,) = add_generation(studio, "aa", owner="ann")
    data = studio.gallery.picture(image).path.read_bytes()
    digest = add_photo(studio, "ben", data)
    studio.owned_by("ann").gallery.delete([image])
    assert studio.owned_by("ben").gallery.photo_picture("ben", digest).path.read_bytes() == data


def test_two_who_delete_the_same_at_once(many: Studio) -> None:
    outcomes: list[object] = []

    def erase() -> None:
        try:
            outcomes.append(many.gallery.delete(list(range(1, 13))))
        except NotFound as missing:
            outcomes.append(missing)

    threads = [threading.Thread(target=erase) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    assert 12 in outcomes
    assert found(many) == []
    assert keep(many, png(1))
