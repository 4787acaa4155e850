"""The log of a local training as people read it: its phases, every tenth step or so, and what the process printed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.training.local.run_directory import RunDirectory

__all__ = ["shown"]

PRINTED = 4_000
"""Characters of what the process printed that are shown where it failed."""


def shown(run: RunDirectory, lines: Sequence[Mapping[str, Any]], *, failed: bool) -> str:
    """The log's lines, oldest first; where it failed with the end of what was printed, tracebacks too."""
    words = [said for said in map(_said, lines) if said]
    if failed:
        words.append(_printed(run.log))
    return "\n".join(filter(None, words))


def _said(line: Mapping[str, Any]) -> str:
    at = str(line.get("time", ""))[11:19]
    if "phase" in line:
        return f"{at}  {line['phase']}"
    step, total = line.get("step", 0), line.get("total", 0)
    if step != 1 and step != total and step % 10:
        return ""
    return f"{at}  step {step} of {total}, loss {line.get('loss', 0):.4f}, {line.get('rate', 0):.2f} steps a second"


def _printed(log: Path) -> str:
    try:
        return log.read_text(encoding="utf-8", errors="replace")[-PRINTED:].strip()
    except OSError:
        return ""
