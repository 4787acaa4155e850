"""The end of the log that workers write."""

from __future__ import annotations

import os
from pathlib import Path

from limner.plain_text import fit_for_terminal
from limner.vendors.secrets.redaction import redact

__all__ = ["log_tail"]

MOST_BYTES = 200_000


def log_tail(log: Path, lines: int) -> str:
    """The last lines of a worker's log without secrets, "" where there is none."""
    if lines < 1:
        return ""
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - MOST_BYTES))
            whole = file.read()
    except OSError:
        return ""
    found = whole.decode(errors="replace").splitlines()
    if size > MOST_BYTES:
        found = found[1:]  # the first one is cut
    text = "\n".join(found[-lines:]).replace(str(Path.home()), "~")
    return redact(fit_for_terminal(text))
