"""Many captions at once: find and replace, a word before or after; looked at first, and taken back afterwards."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Unpack

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.datasets.captions.template import DEFAULT_TEMPLATE
from limner.errors import CaptionRefused, InputRefused, NotFound
from limner.operations.home.facet import Facet
from limner.operations.photos import late_captions
from limner.operations.photos.queries import checked_caption, find_photo_row
from limner.operations.subjects import queries as subject_queries
from limner.options import CaptionEditOptions
from limner.records import CaptionChange, CaptionChanges
from limner.store.models import PhotoRow, now
from limner.store.web_models import CaptionEditRow

__all__ = ["Captions"]


class Captions(Facet):
    """The captions of a subject's photos, changed many at once."""

    def edit(self, slug: str, *, what_if: bool = False, **options: Unpack[CaptionEditOptions]) -> CaptionChanges:
        """Change the captions, all or none, and say of each what it was; ``what_if``: only say what would change.

        The change can be taken back with ``undo`` until the next one. InputRefused: nothing to do was named.
        CaptionRefused: a caption would become one that cannot be used.
        """
        edit = _Edit(options)
        database = self._workspace.database
        with database.read() if what_if else database.write() as session:
            rows = _rows(session, slug, options.get("photos", ()))
            changes = [
                CaptionChange(row.digest, row.caption, after)
                for row in rows
                if (after := edit.apply(row.caption)) != row.caption
            ]
            if what_if or not changes:
                return CaptionChanges(slug, tuple(changes))
            by_digest = {row.digest: row for row in rows}
            before = {one.photo: [one.before, by_digest[one.photo].caption_from] for one in changes}
            for one in changes:
                by_digest[one.photo].caption, by_digest[one.photo].caption_from = one.after, "hand"
            made_at = now()
            session.merge(
                CaptionEditRow(
                    subject=slug,
                    before=before,
                    after={one.photo: one.after for one in changes},
                    created_at=made_at,
                )
            )
            return CaptionChanges(slug, tuple(changes), made_at)

    def last(self, slug: str) -> CaptionChanges | None:
        """The last change of many captions that can be taken back; None if there is none."""
        with self._workspace.database.read() as session:
            subject_queries.find_subject_row(session, slug)
            row = session.get(CaptionEditRow, slug)
            return None if row is None else _record(row)

    def offered(self, slug: str) -> CaptionChanges:
        """Captions that came after their photos and differ from those that are there: kept until they are answered."""
        return late_captions.offered(self._workspace, slug)

    def answer(self, slug: str, *, replace: bool, photos: Iterable[str] = ()) -> CaptionChanges:
        """Take the captions that were offered, or keep those that are there; of these ``photos`` or of all.

        What was taken can be taken back with ``undo``. NotFound: none was offered for one of ``photos``.
        """
        return late_captions.answer(self._workspace, slug, replace=replace, photos=list(photos))

    def undo(self, slug: str) -> CaptionChanges:
        """Take the last change back; captions that were changed again since stay. Gives what it put back.

        NotFound: there is nothing to take back.
        """
        with self._workspace.database.write() as session:
            subject_queries.find_subject_row(session, slug)
            row = session.get(CaptionEditRow, slug)
            if row is None:
                raise NotFound(
                    f"There is no change of many captions of '{slug}' to take back.",
                    remedy="Only the last one can be taken back, once.",
                    thing=slug,
                )
            photos = session.scalars(
                select(PhotoRow).where(PhotoRow.subject == slug, PhotoRow.digest.in_(list(row.after)))
            )
            put_back = []
            for photo in photos:
                if photo.caption == row.after[photo.digest]:
                    put_back.append(CaptionChange(photo.digest, photo.caption, row.before[photo.digest][0]))
                    photo.caption, photo.caption_from = row.before[photo.digest]
            session.delete(row)
            return CaptionChanges(slug, tuple(put_back), now())


class _Edit:
    """One change, ready to be applied to any caption."""

    def __init__(self, options: CaptionEditOptions) -> None:
        self._find = options.get("find", "")
        self._replace = options.get("replace", "")
        self._prefix = options.get("prefix", "")
        self._suffix = options.get("suffix", "")
        self._fill = options.get("fill_empty", False)
        if not (self._find or self._prefix.strip() or self._suffix.strip() or self._fill):
            raise InputRefused(
                "No change was named.", remedy="Say what to find, or what to put before or after each caption."
            )
        if len(self._find) > 500:
            raise InputRefused("The text to find is longer than 500 characters.", remedy="Look for a shorter part.")
        pattern = re.escape(self._find)
        if options.get("whole_words", False):
            pattern = rf"(?<!\w){pattern}(?!\w)"
        self._pattern = re.compile(pattern, 0 if options.get("match_case", False) else re.IGNORECASE)

    def apply(self, caption: str) -> str:
        """The caption afterwards; one that is empty stays so unless it is to be filled from the template."""
        if not caption and not self._fill:
            return caption
        text = caption or DEFAULT_TEMPLATE
        if self._find:
            text = self._pattern.sub(lambda _: self._replace, text)
        # Said twice, a prefix is put once: a second click does no harm.
        if self._prefix.strip() and not text.startswith(self._prefix.strip()):
            text = self._prefix + text
        if self._suffix.strip() and not text.endswith(self._suffix.strip()):
            text = text + self._suffix
        try:
            return checked_caption(text)
        except CaptionRefused as refused:
            raise CaptionRefused(
                f"No caption was changed. '{caption[:80]}' would become one that cannot be used: {refused.message}",
                remedy=refused.remedy,
                thing=refused.thing,
            ) from refused


def _rows(session: Session, slug: str, photos: Iterable[str]) -> list[PhotoRow]:
    subject_queries.find_subject_row(session, slug)
    named = list(photos)
    if named:
        return [find_photo_row(session, slug, digest) for digest in dict.fromkeys(named)]
    return list(session.scalars(select(PhotoRow).where(PhotoRow.subject == slug).order_by(PhotoRow.id)))


def _record(row: CaptionEditRow) -> CaptionChanges:
    changes = [CaptionChange(photo, row.before[photo][0], after) for photo, after in row.after.items()]
    return CaptionChanges(row.subject, tuple(changes), row.created_at)
