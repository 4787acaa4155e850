"""Subjects: a new one, its page with the photos and what the intake said of them, consent, and erasing it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from limner.errors import Conflict, InputRefused, LimnerError, NotFound
from limner.records import IntakeEntry, Job, PhotoEntry, SubjectProposal, UploadBatch
from limner.studio import Studio
from limner.types import Consent, SubjectKind, Verdict
from limner.web.files.photo_form import take_form
from limner.web.live import live_of
from limner.web.pages.jobs import running
from limner.web.visit import Notice, StudioOf, back, is_partial, page

__all__ = ["router"]

router = APIRouter(prefix="/subjects")

STATEMENT = "Agreed to the use of these photos for training a LoRA and for pictures made with it."
SHOWN_PHOTOS = 60
SHOWN_ENTRIES = 120
LONGEST = 2_000
PATIENCE = 0.9
"""Seconds that an answer waits for an intake to end."""
KINDS = [
    (SubjectKind.PERSON, "Person"),
    (SubjectKind.PET, "Pet"),
    (SubjectKind.PRODUCT, "Product"),
    (SubjectKind.CHARACTER, "Character"),
    (SubjectKind.STYLE, "Style"),
]

Text = Annotated[str, Form(max_length=LONGEST)]


Line = Annotated[str, Field(max_length=LONGEST)]


class _Form(BaseModel):
    """The form of a new subject."""

    name: Line = ""
    slug: Line = ""
    kind: Line = "person"
    class_word: Line = ""
    trigger: Line = ""
    consent: Line = ""
    given_by: Line = ""
    statement: Line = STATEMENT

    def proposal(self, studio: Studio) -> SubjectProposal | None:
        """What the names give; None before there is one."""
        if not (self.name.strip() or self.slug.strip()):
            return None
        named = self.model_dump(include={"kind", "slug", "trigger", "class_word"})
        return studio.subjects.propose(self.name, **named)


@router.get("")
def subjects() -> Response:
    """All subjects are on the first page."""
    return back("/")


@router.get("/new")
def new(request: Request) -> Response:
    """The form for a new subject."""
    return page(request, "pages/subject_new.html", form=_Form(), kinds=KINDS, errors={}, proposal=None)


@router.post("/new/names")
def names(request: Request, studio: StudioOf, form: Annotated[_Form, Form()]) -> Response:
    """What the names in the form would give, while it is filled in."""
    return page(request, "fragments/subject_names.html", form=form, proposal=form.proposal(studio), errors={})


@router.post("/new")
def add(request: Request, studio: StudioOf, form: Annotated[_Form, Form()]) -> Response:
    """Add a subject, or give the form back as it was filled in."""
    proposal = form.proposal(studio)
    errors = {"name": "" if proposal else "Give it a name."}
    if proposal:
        errors |= {"slug": proposal.slug_problem, "trigger": proposal.trigger_problem}
        errors["class_word"] = proposal.class_word_problem
    given = None
    if form.kind == SubjectKind.PERSON:
        if form.consent not in ("given", "later"):
            errors["consent"] = "Say whether this person agreed, or that you record it later."
        elif form.consent == "given" and not form.given_by.strip():
            errors["given_by"] = "Say who agreed."
        elif form.consent == "given":
            given = Consent(form.statement.strip() or STATEMENT, form.given_by.strip()[:200], datetime.now(UTC))
    errors = {field: words for field, words in errors.items() if words}
    if proposal and not errors:
        try:
            subject = studio.subjects.add(
                proposal.slug,
                name=form.name.strip()[:200],
                kind=form.kind,
                class_word=form.class_word,
                trigger=proposal.trigger,
                consent=given,
            )
        except (InputRefused, Conflict) as refused:
            errors["name" if not isinstance(refused, Conflict) else "slug"] = str(refused)
        else:
            said = " ".join(f"{one.message} {one.remedy}" for one in subject.findings)
            return back(f"/subjects/{subject.slug}", Notice("warning", said) if said else None)
    return page(
        request,
        "pages/subject_new.html",
        status=422,
        form=form,
        kinds=KINDS,
        errors=errors,
        proposal=proposal,
    )


@router.get("/{slug}")
def subject(request: Request, studio: StudioOf, slug: str, report: str = "") -> Response:
    """A subject: photos and what was said of them, and what was made of it."""
    found, photos = studio.subjects.get(slug), studio.photos.all(slug)
    intakes = studio.jobs.all(slug, limit=20, kind="intake")
    taking = next((job for job in reversed(intakes) if not job.state.ended), None)
    entries = studio.photos.report(slug, intakes[0].id if intakes else "")
    return page(
        request,
        "pages/subject.html",
        subject=found,
        photos=photos,
        shown=photos[:SHOWN_PHOTOS],
        report=_report(entries, photos, whole=report == "all"),
        last=next((job for job in intakes if job.state.ended), None),
        taking=taking,
        pending=studio.uploads.pending(slug),
        offers=studio.captions.offered(slug).changes,
        by_digest={photo.digest: photo for photo in photos},
        trainings=studio.trainings.all(slug),
        loras=studio.loras.all(slug),
        images=studio.generations.images(slug, limit=12),
        running=running(studio, slug, but="intake"),
        limits=studio.settings,
        statement=STATEMENT,
    )


def _report(entries: list[IntakeEntry], photos: list[PhotoEntry], *, whole: bool) -> dict[str, Any]:
    """The newest intake's entries that ask for something, the refused ones first, each with the photo it is like."""
    here = {photo.digest for photo in photos}
    order = {Verdict.REFUSED: 0, Verdict.WARNED: 1, Verdict.ACCEPTED: 2}
    asking = [entry for entry in entries if entry.report.verdict is not Verdict.ACCEPTED]
    asking.sort(key=lambda entry: (order[entry.report.verdict], entry.position))
    rows = []
    for entry in asking if whole else asking[:SHOWN_ENTRIES]:
        like = entry.report.like if entry.report.like in here else ""
        rows.append({"entry": entry, "like": like, "here": entry.photo in here})
    counts = {verdict.name.lower(): sum(e.report.verdict is verdict for e in entries) for verdict in Verdict}
    return {"rows": rows, "asking": len(asking), "total": len(entries), **counts}


@router.get("/{slug}/intake/{job}")
async def intake(request: Request, studio: StudioOf, slug: str, job: str) -> Response:
    """How far an intake is; asked for once a second while it runs, and answered early when it ends."""
    found = await run_in_threadpool(studio.jobs.get, job)
    if found.subject != slug:
        raise NotFound(f"'{slug}' has no such job.", remedy="See the list of jobs.", thing=job)
    if not is_partial(request):
        return back(f"/subjects/{slug}")
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            async for newer in live_of(request).job(job):
                found = newer
    return page(request, "fragments/intake.html", job=found, slug=slug)


@router.post("/{slug}/drop")
async def drop(request: Request, studio: StudioOf, slug: str) -> Response:
    """Take in files that a plain form sends."""
    try:
        job = await take_form(request, studio, slug)
    except LimnerError as refused:
        await run_in_threadpool(studio.subjects.get, slug)
        return back(f"/subjects/{slug}", Notice("refusal", refused.message, refused.remedy))
    return back(f"/subjects/{slug}", _begun(job))


def _begun(job: Job) -> Notice:
    return Notice("note", "The photos are being taken in.", "", f"/jobs/{job.id}")


@router.post("/{slug}/uploads/{batch}/take")
def take(studio: StudioOf, slug: str, batch: str) -> Response:
    """Take in what has arrived of an earlier drop; what has not is left out."""
    files = _batch_of(studio, slug, batch).uploads
    whole = [upload for upload in files if upload.whole]
    if not whole:
        studio.uploads.remove_batch(batch)
        return back(f"/subjects/{slug}", Notice("note", "Nothing of it had arrived whole; it was thrown away."))
    for upload in files:
        if not upload.whole:
            studio.uploads.remove(upload.id)
    return back(f"/subjects/{slug}", _begun(studio.uploads.commit(batch, len(whole))))


@router.post("/{slug}/uploads/{batch}/discard")
def discard(studio: StudioOf, slug: str, batch: str) -> Response:
    """Throw away what has arrived of an earlier drop."""
    studio.uploads.remove_batch(_batch_of(studio, slug, batch).id)
    return back(f"/subjects/{slug}", Notice("note", "The files of that drop were thrown away."))


def _batch_of(studio: Studio, slug: str, name: str) -> UploadBatch:
    """A batch of this subject; NotFound for one of another."""
    found = studio.uploads.batch(name)
    if found.subject != slug:
        raise NotFound(f"'{slug[:64]}' has no such drop.", remedy="Drop the photos again.", thing=name[:80])
    return found


@router.post("/{slug}/remove-photo")
def remove_photo(studio: StudioOf, slug: str, photo: Text = "") -> Response:
    """Take a photo away from the subject."""
    studio.photos.remove(slug, photo)
    return back(f"/subjects/{slug}", Notice("note", "The photo was removed. Frozen datasets keep it."))


@router.post("/{slug}/consent")
def consent(
    studio: StudioOf, slug: str, action: Text = "record", given_by: Text = "", statement: Text = ""
) -> Response:
    """Record a consent, or its withdrawal."""
    if action == "withdraw":
        studio.subjects.withdraw_consent(slug)
        remedy = "What is published already stays public until it is unpublished or erased."
        return back(f"/subjects/{slug}#consent", Notice("warning", "The withdrawal is on record.", remedy))
    studio.subjects.get(slug)
    if not given_by.strip():
        return back(f"/subjects/{slug}#consent", Notice("refusal", "Nobody was named.", "Say who agreed."))
    given = Consent(statement.strip() or STATEMENT, given_by.strip()[:200], datetime.now(UTC))
    studio.subjects.record_consent(slug, given)
    return back(f"/subjects/{slug}#consent", Notice("note", "The consent is on record."))


@router.get("/{slug}/erase")
def erase_form(request: Request, studio: StudioOf, slug: str) -> Response:
    """What erasing would take along, before it is done."""
    return _erase_page(request, studio, slug)


def _erase_page(
    request: Request, studio: Studio, slug: str, *, typed: str = "", error: str = "", keep: bool = False
) -> Response:
    return page(
        request,
        "pages/subject_erase.html",
        status=422 if error else 200,
        subject=studio.subjects.get(slug),
        contents=studio.erasure.contents(slug),
        typed=typed,
        error=error,
        keep=keep,
    )


@router.post("/{slug}/erase")
def erase(request: Request, studio: StudioOf, slug: str, typed: Text = "", keep: Text = "") -> Response:
    """Erase a subject everywhere; say what was erased and what could not be. The same again shows the same."""
    try:
        studio.subjects.get(slug)
    except NotFound:
        if not studio.erasure.all(slug):
            raise
        return back(f"/subjects/{slug}/erased")
    if typed.strip() != slug:
        said = f"Type {slug} to erase it."
        return _erase_page(request, studio, slug, typed=typed, error=said, keep=bool(keep))
    try:
        studio.erasure.erase(slug, publications=not keep)
    except Conflict as busy:
        return _erase_page(request, studio, slug, typed=typed, error=str(busy), keep=bool(keep))
    return back(f"/subjects/{slug}/erased")


@router.get("/{slug}/erased")
def erased(request: Request, studio: StudioOf, slug: str) -> Response:
    """What was erased, and what could not be; kept for a while, since somebody has to see to that."""
    reports = studio.erasure.all(slug)
    if not reports:
        raise NotFound(f"There is no report of an erasure of '{slug[:64]}'.", remedy="Reports are kept for 30 days.")
    return page(request, "pages/subject_erased.html", erasure=reports[0])
