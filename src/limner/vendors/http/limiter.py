"""A rate limiter that all tasks, threads and event loops of a process share: turns in the order of asking.

A bucket of turns refills at ``rate``. The rate is found out: it grows while there is a queue and nobody refuses, and a
refusal (429) pauses all and tells how much was too much. Between two refusals the vendor's own bucket was empty at both
ends, so what it accepted in between, divided by the time, is its rate.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import NamedTuple

from limner.vendors.http.rate_headers import Told, read_told

__all__ = ["Limiter", "Turn", "limiter_for"]

SLOWEST = 1 / 60
"""Turns a second below which the rate never falls."""
HASTY, CAREFUL = 0.5, 0.002
"""By how much of itself the rate grows in a second: before the limit was met, and just after; then ever faster."""
FORGET = 90.0
"""Seconds after which a refusal says nothing of the rate any more."""
LONGEST_PAUSE = 3600.0
USUAL_MOST = 32.0
"""Turns a second above which the rate does not grow unless the vendor's usual rate is about that already."""

now = time.monotonic


class Turn(NamedTuple):
    """A leave to send: its number, and when it was given on the limiter's clock."""

    number: int
    at: float


class _Refusal(NamedTuple):
    """When a pause began or ended, and the last turn given before it."""

    number: int
    at: float


class _Waiter:
    __slots__ = ("again", "called", "loop", "signal")

    def __init__(self, again: bool) -> None:
        self.again = again
        self.loop = asyncio.get_running_loop()
        self.signal: asyncio.Future[None] = self.loop.create_future()
        self.called = False

    def call(self) -> bool:
        """Tell this waiter that it is first; False if its event loop is gone."""
        if self.called:
            return not self.loop.is_closed()
        self.called = True
        try:
            self.loop.call_soon_threadsafe(self._wake)
        except RuntimeError:
            return False
        return True

    def _wake(self) -> None:
        if not self.signal.done():
            self.signal.set_result(None)


class Limiter:
    """Gives turns at ``rate`` a second, ``burst`` of them at once, and never above ``most`` a second.

    ``learn`` adapts it: a refusal pauses all, a known limit or remainder is kept to, a quiet time lets it grow again.
    """

    def __init__(self, rate: float, burst: int, most: float | None = None) -> None:
        self.rate = self.usual = max(rate, SLOWEST)
        self.most = max(most or max(1.25 * rate, USUAL_MOST), self.rate)
        self.burst = float(max(burst, 1))
        self._usual_burst = self.burst
        self._guard = threading.Lock()
        self._queue: deque[_Waiter] = deque()
        self._reached = -math.inf
        self._looked = now()
        self._tokens = self.burst
        self._given = 0
        self._denied: list[int] = []
        self._forgotten = 0
        self._paused_until = -math.inf
        self._left: float | None = None
        self._left_until = -math.inf
        self._refusals: deque[_Refusal] = deque(maxlen=12)
        self._open: _Refusal | None = None
        self._resumed = _Refusal(0, -math.inf)
        self._started_with = 0.0
        self._active = self._spaced = 0.0
        self._costly = False
        self._barren = 0
        self._told_most = math.inf

    @property
    def met(self) -> bool:
        """Whether the vendor's limit was met or told."""
        return bool(self._refusals) or self._open is not None or self._told_most < math.inf

    def widen(self, other: Limiter) -> None:
        """Take another's higher rate and burst for one's own."""
        with self._guard:
            self.rate, self.usual = max(self.rate, other.rate), other.usual
            self.most, self.burst = max(self.most, other.most), max(self.burst, other.burst)
            self._usual_burst = self.burst

    @property
    def paused_for(self) -> float:
        """Seconds that all tasks have to wait from now because the vendor said so; 0: none."""
        with self._guard:
            return max(0.0, self._paused_until - self._moment())

    async def turn(self, *, again: bool = False, pause: Callable[[float], Awaitable[object]] = asyncio.sleep) -> Turn:
        """Wait for the next turn. ``again``: go before all who wait, because a turn was refused."""
        waiter = _Waiter(again)
        with self._guard:
            self._sweep()
            before = 1 + sum(1 for other in islice(self._queue, 1, None) if other.again)
            self._queue.insert(before if again else len(self._queue), waiter)
            self._call_first()
        try:
            await waiter.signal
            while True:
                due = self._due()
                if isinstance(due, Turn):
                    return due
                await pause(max(due - self._moment(), 0.001))
                # What was waited for has passed, also where a test lets it pass at once.
                self._reached = max(self._reached, due)
        finally:
            with self._guard:
                self._queue.remove(waiter)
                self._call_first()

    def learn(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        turn: Turn | None = None,
        told: Told | None = None,
    ) -> None:
        """Take note of an answer's status and rate headers (lower-case names); ``turn`` is the one it was sent with."""
        told = told if told is not None else read_told(headers, refused=status == 429)
        with self._guard:
            moment = self._moment()
            if status == 429:
                self._refuse(moment, turn, told)
                return
            self._keep_to(moment, turn, told)

    # The rest is called with the guard held.

    def _moment(self) -> float:
        return max(now(), self._reached)

    def _sweep(self) -> None:
        """Forget waiters whose event loop ended without telling them."""
        if any(waiter.loop.is_closed() for waiter in self._queue):
            self._queue = deque(waiter for waiter in self._queue if not waiter.loop.is_closed())

    def _call_first(self) -> None:
        while self._queue and not self._queue[0].call():
            self._queue.popleft()

    def _due(self) -> Turn | float:
        """The turn, or the moment when it can be asked for again."""
        with self._guard:
            moment = self._moment()
            if moment < self._paused_until:
                return self._paused_until
            self._resume(moment)
            passed = moment - self._looked
            self._tokens = min(self.burst, self._tokens + passed * self.rate)
            self._looked = moment
            if self._left is not None and moment >= self._left_until:
                self._left = None
            if self._left is not None and self._left < 1:
                return self._left_until
            if self._tokens < 1 - 1e-9:
                return moment + (1 - self._tokens) / self.rate
            self._grow(moment, passed)
            self._tokens -= 1
            self._given += 1
            if self._left is not None:
                self._left -= 1
            return Turn(self._given, moment)

    def _grow(self, moment: float, passed: float) -> None:
        """Ask for a little more while others wait; an idle time counts for little."""
        if len(self._queue) < 2 and self.rate >= self.usual:
            return
        step = HASTY
        if self._refusals:
            quiet = moment - self._refusals[-1].at
            step = min((CAREFUL if self._costly else 5 * CAREFUL) * (1 + (quiet / 8) ** 2), 0.1)
        self.rate = min(self.rate * (1 + step * min(passed, 1.0)), self.most, max(self._told_most, SLOWEST))
        if self.burst < self._usual_burst:
            self.burst = min(self._usual_burst, self.burst * (1 + 0.005 * min(passed, 1.0)))

    def _refuse(self, moment: float, turn: Turn | None, told: Told) -> None:
        number = turn.number if turn else self._given
        insort(self._denied, number)
        wait = min(told.wait if told.wait is not None else 0.25 * 2**self._barren, LONGEST_PAUSE)
        late = turn is not None and number <= self._resumed.number
        if late and told.wait is None:
            return
        if self._open is None and not late:
            if self._barren > 1:
                # Nothing accepted since the pauses before: what was told was too short.
                wait = max(wait, 0.25 * 2**self._barren)
            self._open = _Refusal(self._given, moment)
            self._tokens, self._looked = 0.0, moment
        self._paused_until = max(self._paused_until, moment + wait)

    def _accepted(self, number: int) -> int:
        """How many turns up to this one were not refused, as far as is known by now."""
        return number - self._forgotten - bisect_right(self._denied, number)

    def _resume(self, moment: float) -> None:
        """Once a pause is over, work out what the refusal says of the vendor's rate and burst."""
        if self._open is None:
            return
        refusal, self._open = self._open, None
        while self._refusals and refusal.at - self._refusals[0].at > FORGET:
            self._refusals.popleft()
        run = self._accepted(refusal.number) - self._accepted(self._resumed.number)
        self._barren = 0 if run > 0 else min(self._barren + 1, 7)
        if self._refusals:
            self._estimate(refusal, run, moment - refusal.at)
        self._refusals.append(refusal)
        self._resumed = _Refusal(self._given, moment)
        self._started_with = min(self.burst, self._tokens + (moment - self._looked) * self.rate)
        surplus = bisect_right(self._denied, self._refusals[0].number)
        self._forgotten += surplus
        del self._denied[:surplus]

    def _estimate(self, refusal: _Refusal, run: int, paused: float) -> None:
        """The rate and burst, from what was accepted since the pause before and since the first that is remembered."""
        active = refusal.at - self._resumed.at
        if run < min(self.burst, self._started_with) - 0.5:
            # Refused in the first rush after a pause: the vendor's bucket is smaller than we thought.
            self.burst = max(1.0, min(self.burst, float(run)))
            return
        self._active += active
        self._spaced += run - self._started_with
        first = self._refusals[0]
        at_least = (self._accepted(refusal.number) - self._accepted(first.number)) / max(refusal.at - first.at, 1.0)
        found = self._spaced / self._active if self._active >= 0.5 else 0.75 * self.rate
        # Where a pause is longer than the burst makes good for, each refusal costs: stay just below.
        self._costly = paused * self.rate > self.burst + 1
        found = max(found, at_least) * (0.97 if self._costly else 1.0)
        self.rate = min(max(found, self.rate / 2, SLOWEST), self.rate * 1.05, self.most)
        self._active, self._spaced = self._active / 2, self._spaced / 2

    def _keep_to(self, moment: float, turn: Turn | None, told: Told) -> None:
        """Keep to a known limit, and to what is left of it."""
        if told.limit and told.window and told.window <= 10:
            self._told_most = told.limit / told.window
            self.rate = min(max(self._told_most, SLOWEST), self.most)
            self.burst = min(self.burst, float(told.limit))
        if told.remaining is not None and told.reset:
            under_way = self._given - turn.number if turn else 0
            self._left = float(max(told.remaining - under_way, 0))
            self._left_until = moment + min(told.reset, LONGEST_PAUSE)


_limiters: dict[str, Limiter] = {}
_making = threading.Lock()


def limiter_for(key: str, rate: float, burst: int, most: float | None = None) -> Limiter:
    """The limiter of a vendor's account, one a process."""
    with _making:
        made = _limiters.get(key)
        if made is None or (rate > made.usual and not made.met):
            # Whoever knows the vendor better than the first who asked is believed, until the vendor itself has spoken.
            fresh = Limiter(rate, burst, most)
            if made is None:
                made = _limiters[key] = fresh
            else:
                made.widen(fresh)
        return made
