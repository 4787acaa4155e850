"""Whether all is there and whole."""

from __future__ import annotations

from collections.abc import Mapping

from limner.operations.home.facet import Facet
from limner.records import (
    DoctorReport,
    Job,
    Verification,
)
from limner.types import BackEnd, Base

__all__ = ["Maintenance"]


class Maintenance(Facet):
    """``studio.maintenance``: whether all is there and whole."""

    def log_tail(self, lines: int = 200) -> str:
        """The last lines of the worker's log, without secrets."""
        from limner.operations.home.log_tail import log_tail

        return log_tail(self._workspace.log_file, lines)

    def bases(self) -> list[Base]:
        """The bases of the catalog."""
        from limner.catalog import bases

        return list(bases().values())

    def back_ends(self) -> Mapping[str, tuple[BackEnd, ...]]:
        """What each installed trainer, hub, generator and captioner says of itself."""
        from limner.operations.maintenance import doctor

        return doctor.back_ends(self._workspace.settings)

    def verify(self, *, remove_stray: bool = False) -> Job:
        """Read every file of the home again and hold rows and files against each other; ``verification`` says the rest.

        ``remove_stray``: delete files that belong to nothing.
        """
        from limner.operations.maintenance import verification as verifying

        return self._started(verifying.submit(self._workspace, remove_stray=remove_stray))

    def verification(self) -> Verification | None:
        """What the last ``verify`` that came to its end found; None if there was none."""
        from limner.operations.jobs.queries import last_verification

        return last_verification(self._workspace)

    def doctor(self, *, live: bool = False) -> DoctorReport:
        """What is installed, what would be used, what is missing and how to get it; ``live`` asks the vendors too."""
        from limner.operations.maintenance import doctor

        return doctor.examine(self._workspace, live=live)
