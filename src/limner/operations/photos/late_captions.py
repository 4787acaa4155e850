"""Captions that come after their photos: they fill empty ones, and replace others only if the user says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.datasets.captions.pairing import Caption
from limner.errors import NotFound
from limner.operations.home.workspace import Workspace
from limner.operations.subjects import queries as subject_queries
from limner.records import CaptionChange, CaptionChanges
from limner.store.models import JobRow, PhotoRow, now
from limner.store.web_models import CaptionEditRow
from limner.types import Finding, Severity

__all__ = ["OFFERED", "Brought", "answer", "bring", "offered"]

OFFERED = "captions_offered"
"""Of an intake's result: the captions that differ from those that are there, by photo."""
MOST_SAID = 5


@dataclass(slots=True)
class Brought:
    """What became of the captions for photos that were there: digests, and for ``offered`` the caption that waits."""

    filled: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    offered: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    paired: bool = False
    """Whether a caption that came without its photo found one."""

    def result(self) -> Mapping[str, object]:
        """For the result of the job."""
        return {"captions_filled": len(self.filled), "captions_replaced": len(self.replaced), OFFERED: self.offered}


def bring(workspace: Workspace, slug: str, pairs: Iterable[tuple[str, Caption]], *, replace: bool) -> Brought:
    """Give captions to photos that are there; of several for one photo the first by rank. It can be taken back."""
    chosen: dict[str, Caption] = {}
    for digest, caption in sorted(pairs, key=lambda pair: pair[1].rank):
        chosen.setdefault(digest, caption)
    brought = Brought()
    if not chosen:
        return brought
    names: dict[str, list[str]] = {"filled": [], "replaced": [], "kept": []}
    with workspace.database.write() as session:
        changes: list[tuple[PhotoRow, Caption]] = []
        for row in _rows(session, slug, chosen):
            caption = chosen[row.digest]
            name = row.source.rpartition("/")[2]
            if row.caption == caption.text:
                continue
            if row.caption and not replace:
                brought.offered[row.digest] = caption.text
                names["kept"].append(f"{name} has '{row.caption[:60]}', {caption.source} says '{caption.text[:60]}'")
                continue
            names["replaced" if row.caption else "filled"].append(name)
            (brought.replaced if row.caption else brought.filled).append(row.digest)
            changes.append((row, caption))
        _change(session, slug, [(row, caption.text, caption.origin) for row, caption in changes])
    brought.findings = _findings(names)
    return brought


def offered(workspace: Workspace, slug: str) -> CaptionChanges:
    """The captions that came later, differ from those that are there, and wait for an answer."""
    with workspace.database.read() as session:
        subject_queries.find_subject_row(session, slug)
        waiting = _waiting(session, slug)
        rows = _rows(session, slug, waiting)
        changes = [
            CaptionChange(row.digest, row.caption, waiting[row.digest])
            for row in rows
            if row.caption != waiting[row.digest]
        ]
        return CaptionChanges(slug, tuple(changes))


def answer(workspace: Workspace, slug: str, *, replace: bool, photos: Sequence[str] = ()) -> CaptionChanges:
    """Take the captions that wait, or keep those that are there; of these ``photos`` or of all. Gives what changed.

    What was taken can be taken back. NotFound: no caption waits for one of ``photos``.
    """
    with workspace.database.write() as session:
        subject_queries.find_subject_row(session, slug)
        waiting = _waiting(session, slug)
        asked = [_named(waiting, photo) for photo in photos] or list(waiting)
        rows = [row for row in _rows(session, slug, asked) if row.caption != waiting[row.digest]]
        changes = [CaptionChange(row.digest, row.caption, waiting[row.digest]) for row in rows]
        if replace:
            _change(session, slug, [(row, waiting[row.digest], "late") for row in rows])
        for job in _jobs(session, slug):
            left = {digest: text for digest, text in _offers(job).items() if digest not in asked}
            job.result = {**(job.result or {}), OFFERED: left}
        return CaptionChanges(slug, tuple(changes) if replace else (), now() if replace else None)


def _named(waiting: dict[str, str], photo: str) -> str:
    found = [digest for digest in waiting if len(photo) >= 6 and digest.startswith(photo)]
    if len(found) != 1:
        raise NotFound(f"No caption waits for photo {photo[:80]}.", remedy="See those that do first.", thing=photo[:80])
    return found[0]


def _jobs(session: Session, slug: str) -> list[JobRow]:
    """The subject's intakes that have ended and offered captions, oldest first."""
    query = select(JobRow).where(JobRow.subject == slug, JobRow.kind.in_(("intake", "run")))
    ended = session.scalars(query.where(JobRow.ended_at.is_not(None)).order_by(JobRow.created_at))
    return [row for row in ended if _offers(row)]


def _offers(job: JobRow) -> dict[str, str]:
    offers: dict[str, str] = (job.result or {}).get(OFFERED, {})
    return offers


def _waiting(session: Session, slug: str) -> dict[str, str]:
    """The captions that wait, by photo; of several the newest."""
    return {digest: text for job in _jobs(session, slug) for digest, text in _offers(job).items()}


def _rows(session: Session, slug: str, digests: Iterable[str]) -> list[PhotoRow]:
    query = select(PhotoRow).where(PhotoRow.subject == slug, PhotoRow.digest.in_(list(digests)))
    return list(session.scalars(query.order_by(PhotoRow.id)))


def _change(session: Session, slug: str, changes: Sequence[tuple[PhotoRow, str, str]]) -> None:
    """Change captions, and keep what they were for the one change that can be taken back."""
    if not changes:
        return
    before = {row.digest: [row.caption, row.caption_from] for row, *_ in changes}
    after = {row.digest: text for row, text, _ in changes}
    for row, text, origin in changes:
        row.caption, row.caption_from = text, origin
    session.merge(CaptionEditRow(subject=slug, before=before, after=after, created_at=now()))


def _findings(names: dict[str, list[str]]) -> list[Finding]:
    found = []
    if filled := names["filled"]:
        count = (
            "1 photo that was there got its" if len(filled) == 1 else f"{len(filled)} photos that were there got their"
        )
        found.append(Finding("caption-filled", Severity.NOTE, f"{count} caption: {_listed(filled)}."))
    if replaced := names["replaced"]:
        count = "1 caption was" if len(replaced) == 1 else f"{len(replaced)} captions were"
        remedy = "This can be taken back on the page of the captions."
        found.append(Finding("caption-replaced", Severity.NOTE, f"{count} replaced: {_listed(replaced)}.", remedy))
    if kept := names["kept"]:
        count = "1 photo has" if len(kept) == 1 else f"{len(kept)} photos have"
        said = f"{count} another caption already, which was kept: {_listed(kept)}."
        remedy = (
            "To replace: add with --replace-captions, or answer on the subject's page or with limner photos captions."
        )
        found.append(Finding("caption-kept", Severity.WARNING, said, remedy))
    return found


def _listed(things: Sequence[str]) -> str:
    more = f" and {len(things) - MOST_SAID} more" if len(things) > MOST_SAID else ""
    return f"{'; '.join(things[:MOST_SAID])}{more}"
