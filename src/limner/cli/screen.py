"""The console of the command line: Rich's, with all text made fit for a terminal and only its own signs beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.console import Console
from rich.segment import Segment

from limner.plain_text import fit_for_terminal

if TYPE_CHECKING:
    from rich.console import ConsoleOptions, RenderableType

__all__ = ["Screen"]


class Screen(Console):
    """Text becomes fit where Rich takes it apart, which tables, progress and paragraphs all pass through."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            # What moves the cursor is Rich's own.
            yield segment if segment.control else Segment(fit_for_terminal(segment.text), segment.style)
