"""What the three classes share: settings, refusals, and running asynchronous work from plain code."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from limner.catalog import use_catalog
from limner.errors import LimnerError
from limner.settings import Settings, read_settings
from limner.types import Finding, Severity

__all__ = ["now", "refuse", "settings_of"]

Result = TypeVar("Result")


def settings_of(settings: Settings | None) -> Settings:
    """The settings given, or this user's, with the catalog's rows that they name."""
    found = settings or read_settings()
    if found.catalog is not None:
        use_catalog(found.catalog)
    return found


def refuse(findings: Sequence[Finding], kind: type[LimnerError]) -> None:
    """Raise the first refusal as that kind of error."""
    for finding in findings:
        if finding.severity is Severity.REFUSAL:
            raise kind(finding.message, remedy=finding.remedy, thing=finding.code)


def now(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run to the end, whether or not an event loop runs in this thread."""

    async def run() -> Result:
        return await work()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(run())).result()
