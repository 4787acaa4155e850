"""The captions of one intake: those for its photos, those for photos that are there, and what was noticed."""

from __future__ import annotations

from sqlalchemy import select

from limner.datasets.captions.pairing import PRECEDENCE, Caption, CaptionBook, Rank, kohya_folders, listed, path_parts
from limner.datasets.captions.template import clean_caption, plain_braces
from limner.errors import CaptionRefused
from limner.operations.home.workspace import Workspace
from limner.operations.photos import late_captions
from limner.operations.photos.late_captions import Brought
from limner.photos import IntakeResult
from limner.store.models import PhotoRow
from limner.types import Finding, Severity

__all__ = ["IntakeCaptions"]


class IntakeCaptions:
    """Gives each result its caption, and what is left to the photos that the subject has."""

    def __init__(self, book: CaptionBook) -> None:
        self._book = book
        self._sources: list[str] = []
        self._new: list[str] = []
        self._late: list[tuple[str, Caption]] = []
        self._used: list[Caption] = []
        self._undecided: list[tuple[Caption, int]] = []
        self._outranked: list[str] = []
        self._refused: list[str] = []

    def choose(self, path: str, result: IntakeResult) -> Caption | None:
        """The caption for what lies at ``path``: the one given, else what the file says itself."""
        self._sources.append(path)
        caption = self._own_or(self._book.find(path), result)
        if result.photo is not None:
            self._new.append(result.photo.digest)
        elif caption and result.report.duplicate_of:
            self._late.append((result.report.like, caption))
        return caption

    def _own_or(self, given: Caption | None, result: IntakeResult) -> Caption | None:
        source = result.report.source
        try:
            text = plain_braces(clean_caption(result.caption))
        except CaptionRefused as refused:
            self._refused.append(f"{source}: {refused.message}")
            return given
        if given is None:
            return Caption(text, "photo", source, path_parts(source), rank=Rank.PHOTO) if text else None
        if text and given.text != text:
            self._outranked.append(f"{source} ({given.source} goes before it)")
        return given

    def settle(self, workspace: Workspace, slug: str, *, replace: bool) -> Brought:
        """Bring the captions for photos that were there, found again or by their names."""
        with workspace.database.read() as session:
            query = select(PhotoRow.digest, PhotoRow.source).where(PhotoRow.subject == slug).order_by(PhotoRow.id)
            photos = {row.digest: row.source for row in session.execute(query)}
        late = [caption for _, caption in self._late]
        kept = self._book.find_kept(photos, self._new, [*late, *self._book.taken(self._sources)])
        self._used, self._undecided = [*late, *(caption for _, caption in kept.pairs)], kept.undecided
        brought = late_captions.bring(workspace, slug, [*self._late, *kept.pairs], replace=replace)
        brought.paired = bool(kept.pairs)
        return brought

    def findings(self, brought: Brought) -> list[Finding]:
        """All that was noticed of the captions."""
        return [
            *self._book.findings,
            *self._of_undecided(),
            *self._book.pairing_findings(self._sources, [*self._used, *(caption for caption, _ in self._undecided)]),
            *self._of_own(),
            *brought.findings,
            *kohya_folders(self._sources),
        ]

    def _of_undecided(self) -> list[Finding]:
        remedy = "Write the folder before the file name."
        return [
            Finding(
                "caption-undecided",
                Severity.WARNING,
                f"{caption.source} fits {count} photos of the subject equally well, so none of them got it.",
                remedy,
            )
            for caption, count in self._undecided
        ]

    def _of_own(self) -> list[Finding]:
        found = []
        if self._outranked:
            said = f"What photos say themselves is not used for {listed(self._outranked)}."
            found.append(Finding("caption-outranked", Severity.WARNING, said, PRECEDENCE))
        if self._refused:
            said = f"Captions in photos cannot be used: {listed(self._refused)}."
            found.append(Finding("caption-refused", Severity.WARNING, said, "Write captions for them beside them."))
        return found
