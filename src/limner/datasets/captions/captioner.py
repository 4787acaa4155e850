"""What a captioner must do: say in words what a photo shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from limner.types import BackEnd, SubjectFacts

__all__ = ["Captioner"]


@runtime_checkable
class Captioner(Protocol):
    """A back end that captions. Registered under the entry point group ``limner.captioners``."""

    def describe(self) -> BackEnd:
        """Say what this captioner is. No network, no heavy import."""
        ...

    def caption(self, photos: Sequence[Path], subject: SubjectFacts) -> Sequence[str]:
        """Give one caption a photo, in the same order; ``{trigger}`` and ``{class_word}`` may stand in it."""
        ...
