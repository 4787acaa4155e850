"""A subject erased everywhere, with all that was made of it."""

from __future__ import annotations

from limner.operations.erasure import subject
from limner.operations.home.facet import Facet
from limner.records import (
    Erasure,
    SubjectContents,
)

__all__ = ["Erasures"]


class Erasures(Facet):
    """``studio.erasure``: a subject erased everywhere, with all that was made of it."""

    def contents(self, slug: str) -> SubjectContents:
        """What ``erase`` would take along, and which jobs have to end first."""

        return subject.contents(self._workspace, slug)

    def erase(self, slug: str, *, publications: bool = True) -> Erasure:
        """Erase a subject everywhere, publications included unless told otherwise; say what could not be erased."""
        return subject.remove(self._workspace, slug, publications=publications)

    def all(self, slug: str = "") -> list[Erasure]:
        """What ``erase`` said in the last thirty days, of subjects of that slug or of all, newest first."""
        return subject.erasures(self._workspace, slug)
