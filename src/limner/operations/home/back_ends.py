"""The back ends of one home: each made once, and anew only where the settings are others by then."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotWithin
from contextvars import copy_context
from copy import copy, deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limner import plugins
from limner.errors import LimnerError
from limner.settings import Settings

if TYPE_CHECKING:
    from limner.datasets.captions.captioner import Captioner
    from limner.generation.generator import Generator
    from limner.hubs.hub import Hub
    from limner.training.trainer import Trainer

__all__ = ["BackEnds", "Remembered"]

GOOD_SECONDS = 60.0
BAD_SECONDS = 30.0
"""How long an answer is believed, and how long a failure or an empty one by who only compares: what was mended since
is found by who wants it done."""


@dataclass(slots=True)
class _Question:
    answer: Future[Any] = field(default_factory=Future)
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None

    def ask(self, question: Callable[[], Any]) -> None:
        try:
            found = question()
        except BaseException as failure:
            self.ended = time.monotonic()
            self.answer.set_exception(failure)
        else:
            self.ended = time.monotonic()
            self.answer.set_result(found)

    def stale(self, good: float, bad: float) -> bool:
        """Whether it has to be asked again; what is not answered yet is not asked twice."""
        if self.ended is None:
            return False
        had = self.answer.exception() is None and bool(self.answer.result())
        return time.monotonic() - self.ended >= (good if had else bad)


class Remembered:
    """What others answered, by its key: asked once for all who want it, waited for within a limit, believed a while.

    All methods are safe in threads.
    """

    def __init__(self) -> None:
        self._asked: dict[Hashable, _Question] = {}
        self._guard = threading.Lock()

    def ask(
        self,
        questions: Mapping[Hashable, Callable[[], Any]],
        *,
        seconds: float,
        good: float = GOOD_SECONDS,
        bad: float = BAD_SECONDS,
    ) -> dict[Hashable, Any]:
        """The answer to each question, or the LimnerError that it failed with; without those not answered in time.

        All are asked at once, each in a thread that nobody waits for at the end of the process. ``good`` and ``bad``
        are how many seconds an earlier answer is believed, and a failure or an empty answer.
        """
        with self._guard:
            self._asked = {key: one for key, one in self._asked.items() if not one.stale(GOOD_SECONDS, BAD_SECONDS)}
            for key, question in questions.items():
                if key not in self._asked or self._asked[key].stale(good, bad):
                    self._asked[key] = one = _Question()
                    run = copy_context().run
                    threading.Thread(target=run, args=(one.ask, question), name="asking", daemon=True).start()
            asked = {key: self._asked[key] for key in questions}
        found: dict[Hashable, Any] = {}
        for key, one in asked.items():
            try:
                found[key] = one.answer.result(max(0.0, one.began + seconds - time.monotonic()))
            except NotWithin:
                continue
            except LimnerError as failure:
                found[key] = copy(failure)  # it may be raised by several
        return found


class BackEnds:
    """Back ends by name, one object each for all threads, jobs and owners: what they remember is of use to the next.

    InputRefused: there is none of that name. Conflict: two packages offer one. NotReady: it is broken here.
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._made: dict[tuple[str, str], Any] = {}
        self._made_for: dict[str, Any] = {}
        self._remembered = Remembered()
        self._making = threading.RLock()

    def trainer(self, name: str) -> Trainer:
        trainer: Trainer = self.of("limner.trainers", name)
        return trainer

    def hub(self, name: str) -> Hub:
        hub: Hub = self.of("limner.hubs", name)
        return hub

    def generator(self, name: str) -> Generator:
        generator: Generator = self.of("limner.generators", name)
        return generator

    def captioner(self, name: str) -> Captioner:
        captioner: Captioner = self.of("limner.captioners", name)
        return captioner

    def of(self, group: str, name: str) -> Any:
        """The back end of an entry point group."""
        with self._making:
            settings = self._fresh()
            if (group, name) not in self._made:
                self._made[group, name] = plugins.back_end(group, name, settings=settings)
            return self._made[group, name]

    @property
    def remembered(self) -> Remembered:
        """What back ends answered a moment ago, by these settings."""
        with self._making:
            self._fresh()
            return self._remembered

    def _fresh(self) -> Settings:
        """The settings of now. They are changed in place, and a back end may have taken what it needs when made."""
        settings = self._settings()
        if settings.__dict__ != self._made_for:
            self._made, self._remembered = {}, Remembered()
            self._made_for = deepcopy(settings.__dict__)
        return settings
