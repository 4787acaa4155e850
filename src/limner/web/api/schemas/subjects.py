"""Subjects, and the consent of those who are people."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BeforeValidator, Field

from limner.types import SubjectKind
from limner.web.api.schemas.jobs import Job
from limner.web.api.schemas.loras import Publication
from limner.web.api.schemas.plain import Answer, Body, Finding, only_text

__all__ = [
    "Consent",
    "ConsentGiven",
    "Erasure",
    "NewSubject",
    "Subject",
    "SubjectCard",
    "SubjectContents",
    "SubjectProposal",
]


class Consent(Answer):
    """Who agreed to what, and when."""

    statement: str
    given_by: str
    given_at: datetime


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


class Subject(Answer):
    """Who or what is learned. ``findings`` are warnings about its names when it was just added."""

    slug: str
    name: str
    kind: SubjectKind
    class_word: str
    trigger: str
    created_at: datetime
    photos: int = 0
    loras: int = 0
    consent: Consent | None = None
    findings: list[Finding] = Field(default_factory=list)


class SubjectCard(Answer):
    """A subject at a glance: its best picture (``image``, else ``photo``), counts, and its jobs that run."""

    subject: Subject
    images: int = 0
    image: int | None = None
    photo: str = ""
    running: list[Job] = Field(default_factory=list)


class SubjectProposal(Answer):
    """The names that a new subject would have, and why one of them cannot be used ("" if it can)."""

    slug: str
    trigger: str
    class_word: str
    findings: list[Finding] = Field(default_factory=list)
    slug_problem: str = ""
    trigger_problem: str = ""
    class_word_problem: str = ""


class SubjectContents(Answer):
    """What erasing a subject would take along, by kind, and which jobs have to end first."""

    subject: str
    counts: dict[str, int]
    publications: list[Publication] = Field(default_factory=list)
    running: list[Job] = Field(default_factory=list)


class Erasure(Answer):
    """What was erased, by kind, and what could not be. That of a subject is kept for thirty days under ``id``."""

    subject: str
    erased: dict[str, int]
    left: list[str] = Field(default_factory=list)
    id: str = ""
