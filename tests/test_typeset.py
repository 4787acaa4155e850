"""What is typeset looks like the app."""

from __future__ import annotations

import re
from pathlib import Path

import limner
from limner import typeset


def test_sheets_have_the_colours_of_the_app() -> None:
    tokens = (Path(limner.__file__).parent / "web/static/css/tokens.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--([a-z-]+): light-dark\((#[0-9a-f]{6}),", tokens))
    named = {name: light[name] for name in ("page", "text", "text-quiet", "sunken", "line", "accent")}
    assert list(named.values()) == [
        typeset.PAPER,
        typeset.INK,
        typeset.GREY,
        typeset.FAINT,
        typeset.HAIRLINE,
        typeset.ACCENT,
    ]


def test_a_text_without_end_takes_no_longer_than_its_place() -> None:
    assert typeset.elided("w" * 10_000_000, typeset.SMALL, 100).endswith("w…")
    assert len(typeset.wrapped("i " * 5_000_000, typeset.SMALL, 100, 3)) == 3
