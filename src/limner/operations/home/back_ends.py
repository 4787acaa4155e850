"""The back ends of one home: each made once, and anew only where the settings are others by then."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from limner import plugins
from limner.operations.home.remembered import Remembered
from limner.settings import Settings

if TYPE_CHECKING:
    from limner.datasets.captions.captioner import Captioner
    from limner.generation.generator import Generator
    from limner.hubs.hub import Hub
    from limner.training.trainer import Trainer

__all__ = ["BackEnds"]


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
