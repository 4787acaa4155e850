"""A rate limiter that all tasks, threads and event loops of a process share: turns in the order of asking.

A bucket of turns refills at ``rate``, which grows while there is a queue and nobody refuses; a refusal (429) pauses all
and takes a part of it away.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import NamedTuple

from limner.vendors.http.rate_headers import Told, read_told

__all__ = ["Limiter", "Turn", "limiter_for"]

SLOWEST = 1 / 60
"""Turns a second below which the rate never falls."""
HASTY, CAREFUL = 0.5, 0.025
"""By how much of itself the rate grows in a second: before the limit was met, and just after a refusal."""
FORGET = 10.0
"""Seconds without a refusal after which the rate grows twice as fast, then three times, and so on."""
FALL = 0.85
"""What a refusal leaves of the rate."""
LONGEST_PAUSE = 3600.0
USUAL_MOST = 32.0
"""Turns a second above which the rate does not grow unless the vendor's usual rate is about that already."""

now = time.monotonic


class Turn(NamedTuple):
    """A leave to send: its number, and when it was given on the limiter's clock."""

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
        self._resumed = Turn(0, -math.inf)
        self._paused_until = -math.inf
        self._refused: Turn | None = None
        self._denied = self._barren = 0
        self._left: float | None = None
        self._left_until = -math.inf
        self._told_most = math.inf

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
        quiet = moment - self._resumed.at
        step = HASTY if quiet == math.inf else min(CAREFUL * (1 + quiet / FORGET), HASTY)
        self.rate = min(self.rate * (1 + step * min(passed, 1.0)), self.most, max(self._told_most, SLOWEST))

    def _refuse(self, moment: float, turn: Turn | None, told: Told) -> None:
        number = turn.number if turn else self._given
        wait = min(told.wait if told.wait is not None else 0.25 * 2**self._barren, LONGEST_PAUSE)
        # A refusal of what was sent before the last pause tells nothing new, unless how long to wait.
        late = turn is not None and number <= self._resumed.number
        if late and told.wait is None:
            return
        self._denied += not late
        if self._refused is None and not late:
            if self._barren > 1:
                # Nothing accepted since the pauses before: what was told was too short.
                wait = max(wait, 0.25 * 2**self._barren)
            self._refused = Turn(self._given, moment)
        self._paused_until = max(self._paused_until, moment + wait)

    def _resume(self, moment: float) -> None:
        """Once a pause is over, go on more slowly, and with no rush for what was not sent meanwhile."""
        if self._refused is None:
            return
        accepted = self._refused.number - self._resumed.number - self._denied
        self._barren = 0 if accepted > 0 else min(self._barren + 1, 7)
        self._refused, self._denied, self._resumed = None, 0, Turn(self._given, moment)
        self.rate = max(FALL * self.rate, SLOWEST)
        self.burst = max(1.0, min(self._usual_burst, self.rate))
        self._tokens, self._looked = 1.0, moment

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


def limiter_for(key: str, rate: float, burst: int) -> Limiter:
    """The limiter of a vendor's account, one a process."""
    with _making:
        if key not in _limiters:
            _limiters[key] = Limiter(rate, burst)
        return _limiters[key]
