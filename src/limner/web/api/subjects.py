"""Subjects and their consent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query
from fastapi.responses import Response
from pydantic import BeforeValidator, Field

from limner import types
from limner.errors import NotFound
from limner.records import Erasure, Job, Subject, SubjectCard, SubjectContents, SubjectProposal
from limner.types import Consent, SubjectKind
from limner.web.api.cursors import PartAsked
from limner.web.api.idempotency import Once
from limner.web.api.path_parameters import OfSubject, Slug, api_router, started
from limner.web.api.shapes import Body, Page, only_text
from limner.web.visit import StudioOf

__all__ = ["router"]

router = api_router("subjects")


class ConsentGiven(Body):
    """A consent to be put on record."""

    statement: str = Field(min_length=1, max_length=5_000, description="What was agreed to.")
    given_by: str = Field(min_length=1, max_length=200, description="Who agreed.")
    given_at: Annotated[datetime, BeforeValidator(only_text)] | None = Field(
        default=None, description="When; now if left out."
    )


class NewSubject(Body):
    """A subject to be added."""

    slug: str = Field(min_length=1, max_length=64, description="Its short name: small letters, digits and dashes.")
    name: str = Field(default="", max_length=200, description="Its name for people; the slug if left out.")
    kind: SubjectKind = Field(default=SubjectKind.PERSON, description="What it is.")
    class_word: str = Field(default="", max_length=60, description="What it is in a prompt: person, dog; by its kind.")
    trigger: str = Field(default="", max_length=60, description="The word that stands for it in prompts; proposed.")
    consent: ConsentGiven | None = Field(default=None, description="For people: who agreed.")


@router.get("/subjects", operation_id="list_subjects", summary="List the subjects")
def subjects(studio: StudioOf, part: PartAsked) -> Page[Subject]:
    """All subjects, by slug."""
    return part.page(studio.subjects.all(), lambda one: (one.slug,))


@router.get("/subject-cards", operation_id="list_subject_cards", summary="See the subjects at a glance")
def cards(studio: StudioOf, part: PartAsked) -> Page[SubjectCard]:
    """Each with its best picture, counts, and what runs now; newest first."""
    return part.page(
        studio.subjects.cards(),
        lambda one: (one.subject.created_at.isoformat(), one.subject.slug),
        newest_first=True,
    )


@router.get("/subject-names", operation_id="propose_subject_names", summary="Propose the names of a new subject")
def propose(
    studio: StudioOf,
    name: Annotated[str, Query(max_length=200, description="Its name for people.")],
    kind: types.SubjectKind = types.SubjectKind.PERSON,
    slug: Annotated[str, Query(max_length=64)] = "",
    trigger: Annotated[str, Query(max_length=60)] = "",
    class_word: Annotated[str, Query(max_length=60)] = "",
) -> SubjectProposal:
    """Slug, trigger and class word as they would be, with what speaks against them. Nothing is added."""
    return studio.subjects.propose(name, kind=kind.value, slug=slug, trigger=trigger, class_word=class_word)


@router.post("/subjects", status_code=201, operation_id="create_subject", summary="Add a subject")
def add(response: Response, studio: StudioOf, wanted: NewSubject) -> Subject:
    """Add who or what is to be learned. A slug that is taken is a conflict."""
    consent = _consent(wanted.consent) if wanted.consent else None
    options = wanted.model_dump(exclude={"slug", "consent"}, exclude_unset=True)
    made = studio.subjects.add(wanted.slug, consent=consent, **options)
    response.headers["Location"] = f"/api/v1/subjects/{made.slug}"
    return made


@router.post("/demo", status_code=202, operation_id="add_demo", summary="Add the demo's subject")
def add_demo(response: Response, studio: StudioOf, once: Once) -> Job:
    """The subject zibbo with the photos that ship with Limner; asked for again it is no second one."""
    return started(response, once(studio, studio.runs.add_demo_subject))


@router.get("/subjects/{subject}", operation_id="get_subject", summary="See a subject")
def show(studio: StudioOf, subject: Slug) -> Subject:
    """One subject by its slug."""
    return studio.subjects.get(subject)


@router.get("/subjects/{subject}/contents", operation_id="get_subject_contents", summary="See what a subject has")
def contents(studio: StudioOf, subject: Slug) -> SubjectContents:
    """What erasing it would take along, and the jobs that have to end first."""
    return studio.erasure.contents(subject)


@router.delete("/subjects/{subject}", operation_id="delete_subject", summary="Erase a subject everywhere")
def erase(
    studio: StudioOf,
    subject: Slug,
    publications: Annotated[bool, Query(description="Its publications too.")] = True,
) -> Erasure:
    """Photos, datasets, trainings, loras, pictures and publications; says what could not be erased."""
    return studio.erasure.erase(subject, publications=publications)


@router.get("/erasures", operation_id="list_erasures", summary="List the erasures")
def erasures(studio: StudioOf, subject: OfSubject = "") -> list[Erasure]:
    """Of the last thirty days, newest first: somebody may have to see to what could not be erased."""
    return studio.erasure.all(subject)


@router.get("/subjects/{subject}/consent", operation_id="get_consent", summary="See the consent of a subject")
def consent(studio: StudioOf, subject: Slug) -> Consent:
    """Who agreed to what. Not found: none is on record."""
    found = studio.subjects.get(subject).consent
    if found is None:
        raise NotFound(f"No consent of '{subject}' is on record.", remedy="Put one on record.", thing=subject)
    return found


@router.put("/subjects/{subject}/consent", operation_id="record_consent", summary="Put a consent on record")
def record_consent(studio: StudioOf, subject: Slug, given: ConsentGiven) -> Subject:
    """An earlier consent stays on record as withdrawn."""
    return studio.subjects.record_consent(subject, _consent(given))


@router.delete("/subjects/{subject}/consent", operation_id="withdraw_consent", summary="Withdraw a consent")
def withdraw(studio: StudioOf, subject: Slug) -> Subject:
    """Note that it was withdrawn. Nothing is erased by it."""
    return studio.subjects.withdraw_consent(subject)


def _consent(given: ConsentGiven) -> types.Consent:
    at = given.given_at or datetime.now(UTC)
    return Consent(given.statement, given.given_by, at if at.tzinfo else at.replace(tzinfo=UTC))
