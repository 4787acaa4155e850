"""How many bytes this process has written, by all of its threads and libraries, as the kernel counts them."""

from __future__ import annotations

from pathlib import Path


def written() -> int:
    facts = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return int(facts["wchar"])
