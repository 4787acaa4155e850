"""Finds a picture at Replicate whose answer was lost: the vendor's list, searched for the very same input."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from limner.errors import Undecided
from limner.money.payments import Payments, Unrecorded
from limner.vendors.replicate.client import Job, ReplicateClient

__all__ = ["Lookup"]

SKEW = timedelta(minutes=10)
"""How far the vendor's clock may be from ours."""
KEPT = timedelta(hours=1)
"""How long the vendor keeps the input of a prediction, by which it is known."""
BACK = timedelta(hours=26)
"""How much older than what we sent an entry may seem: clocks differ, by a wrong time zone too."""
FAR_BACK = timedelta(days=2)
"""How long ago a purchase of unknown age may have been sent."""
FAILED = frozenset({"failed", "canceled", "cancelled", "aborted"})


class Lookup:
    """The list of one account's predictions with one model, for one order."""

    def __init__(self, client: ReplicateClient, model: str, version: str, payments: Payments) -> None:
        self._client, self._model, self._version, self._payments = client, model, version, payments
        self._sent: dict[str, datetime] = {}
        self._early: list[Job] | None = None
        self._guard = asyncio.Lock()

    def sent(self, tag: str) -> None:
        """Take note that a picture is asked for now."""
        self._sent[tag] = datetime.now(UTC)

    async def find(self, tag: str, body: Mapping[str, Any]) -> Job | None:
        """The prediction with this input. None: surely not there. Undecided: one may be it, and its data are gone.

        What this process sent is looked for among what is new. For what an earlier one may have sent the list is read
        once for all pictures of the order.
        """
        since = self._sent.get(tag)
        if since is not None:
            jobs = await self._listed(since - BACK)
        else:
            async with self._guard:
                if self._early is None:
                    back = BACK if isinstance(self._payments, Unrecorded) else FAR_BACK
                    self._early = await self._listed(datetime.now(UTC) - back)
            jobs = self._early
        same = [job for job in jobs if job.input and _holds(job.input, body)]
        good = [job for job in same if job.status not in FAILED and not job.removed]
        if good:
            return good[0]
        if since is not None:
            # It may have failed at once; what failed in an earlier run does not keep from trying again.
            return same[0] if same else None
        await self._doubt(tag, jobs)
        return None

    async def _listed(self, since: datetime) -> list[Job]:
        return [job async for job in self._client.predictions(since) if self._ours(job)]

    def _ours(self, job: Job) -> bool:
        if self._version and job.version == self._version:
            return True
        return job.model.lower() == self._model.lower() and (not self._version or job.version in ("", self._version))

    async def _doubt(self, tag: str, jobs: list[Job]) -> None:
        """Raise Undecided if the picture may be among those whose input the vendor has deleted."""
        gone = [job for job in jobs if not job.input]
        if not gone or isinstance(self._payments, Unrecorded):
            return
        # The book may know when it was sent; a purchase of less than an hour's age cannot have been deleted yet.
        began = await self._payments.opened_at(tag)
        if began is not None:
            gone = [job for job in gone if job.created_at is None or abs(job.created_at - began) < KEPT]
            if not gone or datetime.now(UTC) - began < KEPT - SKEW:
                return
        raise Undecided(
            f"Replicate lists {len(gone)} pictures of {self._model} without their data, and {tag} may be one of them.",
            remedy=f"See https://replicate.com/predictions, then: limner costs decide {tag} again (or drop, or paid).",
            thing=tag,
        )


def _holds(given: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether an input has every value that we send; the vendor may fill in others."""
    return all(name in given and _same(given[name], value) for name, value in wanted.items())


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= 1e-9 * max(1.0, abs(one))
    return bool(one == other)
