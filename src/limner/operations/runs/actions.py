"""The whole way from photos to pictures as one job, and going on with what stopped."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Unpack, overload

from limner.operations.home.facet import Facet
from limner.operations.runs import demo_subject, resume
from limner.options import RunOptions
from limner.records import (
    Job,
    Route,
    WhatIf,
)

__all__ = ["Runs"]


class Runs(Facet):
    """``studio.runs``: the whole way from photos to pictures as one job, and going on with what stopped."""

    def add_demo_subject(self) -> Job:
        """Add the demo's subject, zibbo, with the photos that ship with Limner; the same again is no second one."""

        return self._started(demo_subject.add_demo(self._workspace))

    @overload
    def start(
        self,
        slug: str,
        photos: Sequence[str | Path],
        prompts: Sequence[str],
        *,
        yes: bool = False,
        what_if: Literal[True],
        **options: Unpack[RunOptions],
    ) -> WhatIf: ...
    @overload
    def start(
        self,
        slug: str,
        photos: Sequence[str | Path],
        prompts: Sequence[str],
        *,
        yes: bool = False,
        what_if: Literal[False] = False,
        **options: Unpack[RunOptions],
    ) -> Job: ...
    def start(
        self,
        slug: str,
        photos: Sequence[str | Path],
        prompts: Sequence[str],
        *,
        yes: bool = False,
        what_if: bool = False,
        **options: Unpack[RunOptions],
    ) -> Job | WhatIf:
        """Photos in, pictures out, as one job: intake, dataset, training, publication, one generation a prompt.

        All options are checked before anything runs: whether the lora fits the generator and can get there, and what
        it costs in all (ConsentNeeded). ``what_if``: give the plans and the price instead.
        """
        from limner.operations.runs import submission as runs

        return self._started(runs.submit(self._workspace, slug, photos, prompts, yes=yes, what_if=what_if, **options))

    @overload
    def resume(self, job: Job | str, *, yes: bool = False, what_if: Literal[True]) -> WhatIf: ...
    @overload
    def resume(self, job: Job | str, *, yes: bool = False, what_if: Literal[False] = False) -> Job: ...
    def resume(self, job: Job | str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
        """Do a stopped job again from where it stopped, as a new job; ConsentNeeded where that may be paid anew."""
        name = job if isinstance(job, str) else job.id
        return self._started(resume.resume(self._workspace, name, yes=yes, what_if=what_if))

    def routes(self, *, base: str = "", subject: str = "") -> list[Route]:
        """Every way from photos to pictures: whether it works here and now, its price and time, who sees the photos."""
        from limner.operations.runs import routes

        return routes.routes(self._workspace, base=base, subject=subject)
