"""Finding images: a filter as conditions on their rows, pages by the number of an image, windows by offset, counts."""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Hashable
from datetime import date, datetime, time, timedelta, tzinfo
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, or_, select, text
from sqlalchemy.orm import Session

from limner.errors import InputRefused, NotFound
from limner.operations.home.facet import Facet
from limner.records.gallery import GalleryChoices, GalleryFilter, GalleryImage, GalleryPage, MonthCount
from limner.store.models import GenerationLoraRow, GenerationRow, GenerationSubjectRow, ImageRow

__all__ = ["EVERYTHING", "MOST", "GallerySearch", "neighbours"]

MOST = 500
"""The most images that one page or window gives."""
MOST_WORDS = 20
MOST_TEXT = 1_000
_CURSOR = re.compile(r"([<>])(\d{1,18})")


EVERYTHING = GalleryFilter()


class GallerySearch(Facet):
    """The finding half of ``studio.gallery``."""

    def page(self, wanted: GalleryFilter = EVERYTHING, *, cursor: str = "", limit: int = 60) -> GalleryPage:
        """Images of a filter, newest first, 500 at most, from a cursor of another page on. InputRefused."""
        limit = _limited(limit)
        back, number = _read(cursor)
        query = _where(_images(), wanted)
        if number is not None:
            query = query.where(ImageRow.id > number if back else ImageRow.id < number)
        query = query.order_by(ImageRow.id.asc() if back else ImageRow.id.desc()).limit(limit + 1)
        with self._workspace.database.read() as session:
            found = [_image(row) for row in session.execute(query)]
            total = _count(session, wanted)
        more, found = len(found) > limit, found[:limit]
        if back:
            found.reverse()
        first, last = (found[0].id, found[-1].id) if found else (0, 0)
        newer = found and (more if back else number is not None)
        older = found and (True if back else more)
        return GalleryPage(
            tuple(found), total, _cursor("<", last) if older else "", _cursor(">", first) if newer else ""
        )

    def window(
        self, wanted: GalleryFilter = EVERYTHING, *, offset: int, limit: int, newest: int | None = None
    ) -> tuple[GalleryImage, ...]:
        """The images from a place of the whole list on, newest first; fewer at its end. InputRefused.

        The list begins with the image ``newest``, so that its places hold while others are made.
        """
        # Numbers first, from the key alone: what is stepped over is not read.
        numbers = _up_to(_where(select(ImageRow.id), wanted), newest).order_by(ImageRow.id.desc())
        chosen = numbers.offset(_limited(offset, most=2**62, least=0)).limit(_limited(limit))
        with self._workspace.database.read() as session:
            found = list(session.scalars(chosen))
            rows = session.execute(_images().where(ImageRow.id.in_(found)).order_by(ImageRow.id.desc()))
            return tuple(_image(row) for row in rows)

    def months(self, wanted: GalleryFilter = EVERYTHING) -> tuple[MonthCount, ...]:
        """How many images of a filter each month has, and where in the list it begins, newest month first."""
        made = ImageRow.created_at
        counts, offset = [], 0
        with self._workspace.database.read() as session:
            ends: Any = select(func.min(made), func.max(made))
            oldest, newest = session.execute(_where(ends, wanted)).one()
            if oldest is None:
                return ()
            # The database knows no zones: it is told when each month begins.
            starts = _months(oldest.astimezone(wanted.zone), newest.astimezone(wanted.zone))
            month = case(*((made >= _midnight(start, wanted.zone), f"{start:%Y-%m}") for start in starts)).label(
                "month"
            )
            columns = select(month, func.count(ImageRow.id), func.max(ImageRow.id))
            for name, count, newest in session.execute(_where(columns, wanted).group_by(month).order_by(month.desc())):
                counts.append(MonthCount(str(name), count, offset, _cursor("<", newest + 1)))
                offset += count
        return tuple(counts)

    def choices(self) -> GalleryChoices:
        """The subjects, loras and generators that there are pictures of."""
        with self._workspace.database.read() as session:

            def names(column: Any) -> tuple[str, ...]:
                return tuple(session.scalars(select(column).distinct().order_by(column)))

            generators = tuple(name for name in names(ImageRow.generator) if name)
            return GalleryChoices(names(GenerationSubjectRow.subject), names(GenerationLoraRow.lora), generators)

    def ids(self, wanted: GalleryFilter = EVERYTHING) -> list[int]:
        """The numbers of all images of a filter, newest first."""
        with self._workspace.database.read() as session:
            return list(session.scalars(_where(select(ImageRow.id), wanted).order_by(ImageRow.id.desc())))

    def position(self, image: int, wanted: GalleryFilter = EVERYTHING, *, newest: int | None = None) -> int:
        """The place of an image in the whole list of a filter, from 0, as for ``window``. NotFound."""
        with self._workspace.database.read() as session:
            if session.scalar(_where(select(ImageRow.id), wanted).where(ImageRow.id == image)) is None:
                raise NotFound(
                    f"There is no image {image} here.", remedy="List them: limner images list", thing=str(image)
                )
            before = _up_to(_where(select(func.count(ImageRow.id)), wanted), newest).where(ImageRow.id > image)
            return session.scalar(before) or 0

    def version(self) -> Hashable:
        """A value that is another one after an image was made, deleted or marked, for keeping what was looked up."""
        seen = text(
            "SELECT (SELECT count(*) FROM limner_images),"
            " (SELECT sum(id) FROM limner_images WHERE favourite = 1),"
            " (SELECT id || ' ' || created_at FROM limner_images ORDER BY id DESC LIMIT 1)"
        )
        with self._workspace.everyone.database.read() as session:
            return tuple(session.execute(seen).one())


def neighbours(session: Session, wanted: GalleryFilter, image: int) -> tuple[int | None, int | None]:
    """The next newer and the next older image of the filter."""
    newer = _where(select(func.min(ImageRow.id)), wanted).where(ImageRow.id > image)
    older = _where(select(func.max(ImageRow.id)), wanted).where(ImageRow.id < image)
    return session.scalar(newer), session.scalar(older)


# --- conditions -------------------------------------------------------------------------------------------------


def _images() -> Select[Any]:
    columns: Any = select(
        ImageRow.id,
        ImageRow.generation,
        ImageRow.position,
        ImageRow.digest,
        ImageRow.width,
        ImageRow.height,
        GenerationRow.prompt,
        ImageRow.seed,
        ImageRow.generator,
        ImageRow.favourite,
        ImageRow.created_at,
    )
    images: Select[Any] = columns.join(GenerationRow, GenerationRow.id == ImageRow.generation)
    return images


def _image(row: Any) -> GalleryImage:
    return GalleryImage(*row)


def _count(session: Session, wanted: GalleryFilter) -> int:
    return session.scalar(_where(select(func.count(ImageRow.id)), wanted)) or 0


def _where(query: Select[Any], wanted: GalleryFilter) -> Select[Any]:
    """The query with what the filter wants, each part of it by its index."""
    conditions: list[ColumnElement[bool]] = []
    if wanted.subject:
        of_subject = select(GenerationSubjectRow.generation).where(GenerationSubjectRow.subject == wanted.subject)
        conditions.append(ImageRow.generation.in_(of_subject))
    if wanted.lora:
        exact = GenerationLoraRow.lora == wanted.lora
        # A slug alone means all its versions. "@" and "A" are neighbours, so this is a range of the index.
        versions = and_(GenerationLoraRow.lora > f"{wanted.lora}@", GenerationLoraRow.lora < f"{wanted.lora}A")
        of_lora = select(GenerationLoraRow.generation).where(exact if "@" in wanted.lora else or_(exact, versions))
        conditions.append(ImageRow.generation.in_(of_lora))
    words = wanted.text[:MOST_TEXT].split()[:MOST_WORDS]
    if words:
        said = and_(*(_contains(GenerationRow.prompt, word) for word in words))
        conditions.append(ImageRow.generation.in_(select(GenerationRow.id).where(said)))
    if wanted.generator:
        conditions.append(ImageRow.generator == wanted.generator)
    if wanted.favourite:
        conditions.append(ImageRow.favourite.is_(True))
    # Midnight on the first day there is may be before it in UTC.
    if wanted.since is not None and wanted.since.year > 1:
        conditions.append(ImageRow.created_at >= _midnight(wanted.since, wanted.zone))
    if wanted.until is not None and wanted.until.year < 9999:
        conditions.append(ImageRow.created_at < _midnight(wanted.until + timedelta(days=1), wanted.zone))
    if wanted.seed is not None:
        # Beyond what the column holds there is nothing, and the driver would refuse the number.
        conditions.append(ImageRow.seed == (wanted.seed if abs(wanted.seed) < 2**63 else -1))
    return query.where(*conditions) if conditions else query


def _months(oldest: date, newest: date) -> list[date]:
    """The first days of the months from one day to another, newest first."""
    span = range(newest.year * 12 + newest.month - 1, oldest.year * 12 + oldest.month - 2, -1)
    return [date(month // 12, month % 12 + 1, 1) for month in span]


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time(), zone)


def _up_to(query: Select[Any], newest: int | None) -> Select[Any]:
    return query if newest is None else query.where(ImageRow.id <= newest)


def _contains(column: Any, word: str) -> ColumnElement[bool]:
    """Whether a text has a word in it. SQLite's LIKE folds the case of ASCII only, so other scripts get their forms."""
    composed = unicodedata.normalize("NFC", word)
    forms = {composed, unicodedata.normalize("NFD", word)}
    if not composed.isascii():
        forms |= {composed.lower(), composed.upper(), composed.capitalize(), composed.title()}
    return or_(*(column.like(f"%{_escaped(form)}%", escape="\\") for form in sorted(forms)))


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_").replace("\0", "")


def _limited(number: int, *, most: int = MOST, least: int = 1) -> int:
    if not least <= number <= most:
        raise InputRefused(f"{number} cannot be asked for.", remedy=f"Ask for {least} to {most}.", thing="limit")
    return number


def _cursor(way: str, number: int) -> str:
    return base64.urlsafe_b64encode(f"{way}{number}".encode()).decode().rstrip("=")


def _read(cursor: str) -> tuple[bool, int | None]:
    """Whether a cursor goes to newer images, and from which image on; from the newest if there is none."""
    if not cursor:
        return False, None
    try:
        words = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        words = ""
    match = _CURSOR.fullmatch(words)
    if match is None:
        raise InputRefused("This place in the gallery is not known.", remedy="Start at its first page.", thing="cursor")
    return match[1] == ">", int(match[2])
