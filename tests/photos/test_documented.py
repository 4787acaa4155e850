"""The guide names every finding that intake can make."""

from __future__ import annotations

import re
from pathlib import Path

import limner.photos

ROOT = Path(__file__).parents[2]


def test_every_finding_is_in_the_guide() -> None:
    modules = Path(limner.photos.__file__).parent.rglob("*.py")
    code = "\n".join(module.read_text(encoding="utf-8") for module in modules)
    made = set(re.findall(r"\b(?:refusal|_warning|Finding)\(\s*\"([a-z-]+)\"", code))
    made |= set(re.findall(r"_refused\(\s*\w+,\s*\"([a-z-]+)\"", code))
    guide = set(re.findall(r"`([a-z-]+)`", (ROOT / "docs" / "guide" / "photos.md").read_text(encoding="utf-8")))
    assert len(made) > 20 and made <= guide, made - guide
