"""Who or what is learned, and who agreed to it."""

from __future__ import annotations

from limner.operations.home.facet import Facet
from limner.operations.subjects import editing as subjects
from limner.operations.subjects import queries as subject_queries
from limner.records import (
    Subject,
    SubjectCard,
    SubjectProposal,
)
from limner.types import Consent, SubjectKind

__all__ = ["Subjects"]


class Subjects(Facet):
    """``studio.subjects``: who or what is learned, and who agreed to it."""

    def add(
        self,
        slug: str,
        *,
        name: str = "",
        kind: SubjectKind | str = SubjectKind.PERSON,
        class_word: str = "",
        trigger: str = "",
        consent: Consent | None = None,
    ) -> Subject:
        """Add a subject. NameRefused for a slug or trigger that cannot be used, Conflict if the slug is taken."""
        return subjects.add(
            self._workspace, slug, name=name, kind=kind, class_word=class_word, trigger=trigger, consent=consent
        )

    def all(self) -> list[Subject]:
        """All subjects, by slug."""
        return subject_queries.subjects(self._workspace)

    def get(self, slug: str) -> Subject:
        """One subject."""
        return subject_queries.subject(self._workspace, slug)

    def cards(self) -> list[SubjectCard]:
        """All subjects at a glance, newest first: best picture, counts, and what runs now."""
        from limner.operations.subjects import overview

        return overview.cards(self._workspace)

    def propose(
        self, name: str, *, kind: str = "person", slug: str = "", trigger: str = "", class_word: str = ""
    ) -> SubjectProposal:
        """The names that a new subject would have, with what speaks against them; nothing is added."""
        from limner.operations.subjects import overview

        return overview.propose(
            self._workspace, name=name, kind=kind, slug=slug, trigger=trigger, class_word=class_word
        )

    def record_consent(self, slug: str, consent: Consent) -> Subject:
        """Put on record who agreed to what; an earlier consent stays on record as withdrawn."""
        return subjects.record_consent(self._workspace, slug, consent)

    def withdraw_consent(self, slug: str) -> Subject:
        """Note that the consent was withdrawn; erase or unpublish what should not stay."""
        return subjects.withdraw_consent(self._workspace, slug)
