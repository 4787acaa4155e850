"""Many pictures at once: each is given as soon as it is there, and one that fails loses none of the others.

It begins with a few at a time and takes one more for each that comes, so that a vendor that refuses or loses everything
is asked a few times and not a thousand.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable

from limner.errors import (
    AnswerLost,
    Cancelled,
    ContentRefused,
    LimnerError,
    Undecided,
    VendorBusy,
    VendorFailed,
    WorkFailed,
)
from limner.generation.generator import Drawn

__all__ = ["Brake", "Paint", "fan_out"]

AT_FIRST = 4
ENOUGH = 3
"""Failures of the kinds below without a picture between them after which no further picture is begun."""
TURNS = 8
"""How often a picture that found the vendor busy is put back into the queue."""
LATER = (ContentRefused, Undecided, AnswerLost, VendorFailed, WorkFailed, VendorBusy)
"""Failures that may be one picture's own. After any other (account, credit, budget, lora) all would fail alike."""

Paint = Callable[[int], Awaitable[Drawn]]


class Brake:
    """Lets calls out until it is pulled; ``out`` are the indexes whose call was sent, and may be paid."""

    def __init__(self) -> None:
        self.pulled = False
        self.out: set[int] = set()

    def go(self, index: int) -> None:
        """Called right before a picture is asked for. Cancelled: no more, so this one is surely not paid."""
        if self.pulled:
            raise Cancelled("The drawing was stopped before this picture was asked for.")
        self.out.add(index)


async def fan_out(
    indexes: Iterable[int], paint: Paint, *, most: int, brake: Brake | None = None
) -> AsyncGenerator[Drawn]:
    """Paint pictures, at most ``most`` at once, in whatever order they are done.

    The first failure is raised after the others are through, with how many failed; the kinds that would fail every
    picture alike keep further ones from being begun. Cancelled from outside, it pulls the brake, begins no further
    picture and still gives those whose call is out, for they are paid; then it raises CancelledError.
    """
    crew = _Crew(indexes, paint, most, brake or Brake())
    try:
        while crew.begin():
            try:
                await asyncio.wait(crew.tasks, return_when=asyncio.FIRST_COMPLETED)
            except asyncio.CancelledError:
                if crew.brake.pulled:
                    raise
                crew.stop()
                continue
            for task in [task for task in crew.tasks if task.done()]:
                drawn = crew.end(task)
                if drawn is not None:
                    # the next one is sent before this one is stored
                    crew.begin()
                    yield drawn
    finally:
        await crew.dismiss()
    if crew.brake.pulled:
        raise asyncio.CancelledError
    if crew.failures:
        raise crew.failure()


class _Crew:
    """The pictures that wait, those being painted, and what became of the others."""

    def __init__(self, indexes: Iterable[int], paint: Paint, most: int, brake: Brake) -> None:
        self.brake = brake
        self.tasks: dict[asyncio.Task[Drawn], tuple[int, int]] = {}
        self.failures: list[LimnerError] = []
        self._waiting = deque((index, 0) for index in indexes)
        self._paint, self._most = paint, most
        self._total, self._given = len(self._waiting), 0
        self._allowed, self._in_a_row = min(AT_FIRST, most), 0
        self._stopped = False

    def begin(self) -> bool:
        """Begin as many pictures as are allowed at once; whether any is being painted."""
        while self._waiting and not self._stopped and len(self.tasks) < self._allowed:
            index, turn = self._waiting.popleft()
            self.tasks[asyncio.ensure_future(self._painted(index))] = (index, turn)
        return bool(self.tasks)

    async def _painted(self, index: int) -> Drawn:
        return await self._paint(index)

    def end(self, task: asyncio.Task[Drawn]) -> Drawn | None:
        """Take note of a picture that is done: the picture, or None where it failed or goes back into the queue."""
        index, turn = self.tasks.pop(task)
        if task.cancelled():
            return None
        failure = task.exception()
        if failure is None:
            self._allowed, self._in_a_row = min(self._most, self._allowed + 1), 0
            self._given += 1
            return task.result()
        if not isinstance(failure, LimnerError):
            raise failure
        if isinstance(failure, VendorBusy) and turn < TURNS and not self._stopped:
            self._allowed = max(1, self._allowed - 1)
            self._waiting.append((index, turn + 1))
            return None
        self.failures.append(failure)
        self._in_a_row += 1
        self._stopped = self._stopped or not isinstance(failure, LATER) or self._in_a_row >= ENOUGH
        return None

    def stop(self) -> None:
        """Begin no further picture, and give up those whose call is not out yet."""
        self._stopped = self.brake.pulled = True
        for task, (index, _) in self.tasks.items():
            if index not in self.brake.out:
                task.cancel()

    async def dismiss(self) -> None:
        for task in self.tasks:
            task.cancel()
        if self.tasks:
            await asyncio.gather(*self.tasks, return_exceptions=True)

    def failure(self) -> LimnerError:
        """The failure that matters most, saying how many pictures are missing."""

        def weight(failure: LimnerError) -> int:
            if not isinstance(failure, LATER):
                return 0
            return 1 if isinstance(failure, Undecided | AnswerLost) else 2

        worst = min(self.failures, key=weight)
        if self._total > 1:
            missing = self._total - self._given
            worst.message = f"{missing} of {self._total} pictures were not drawn. {worst.message}"
        return worst
