"""What the studio says of subjects at a glance: cards, proposals for a new one, and what erasing one would take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from limner.records.stored import Job, Publication, Subject
from limner.types import Finding

__all__ = ["SubjectCard", "SubjectContents", "SubjectProposal"]


@dataclass(frozen=True, slots=True)
class SubjectCard:
    """A subject at a glance. Its best picture is ``image``, else the photo with the digest ``photo``, else none.

    ``running`` are its jobs that have not ended, newest first.
    """

    subject: Subject
    images: int
    image: int | None
    photo: str
    running: tuple[Job, ...] = ()


@dataclass(frozen=True, slots=True)
class SubjectProposal:
    """The names that a new subject would have. ``slug_problem`` and ``trigger_problem`` say why one cannot be used."""

    slug: str
    trigger: str
    class_word: str
    findings: tuple[Finding, ...] = ()
    slug_problem: str = ""
    trigger_problem: str = ""
    class_word_problem: str = ""


@dataclass(frozen=True, slots=True)
class SubjectContents:
    """What erasing a subject would take along; ``counts`` by kind, and the publications that are deleted too.

    ``running`` are the jobs that have to end first.
    """

    subject: str
    counts: Mapping[str, int]
    publications: tuple[Publication, ...]
    running: tuple[Job, ...] = ()
