"""Text of others: made fit for a terminal, kept whole as JSON, and refused as a name."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import NameRefused
from limner.plain_text import fit_for_terminal, invisible_replaced, json_text, one_line, plain_name

ANY = st.text(st.characters(), max_size=40)
"""Any text that Python can hold, halves of surrogate pairs too."""
NO_NAMES = {
    "ANSI": "a\x1b[2Jb",
    "OSC": "a\x1b]0;title\x07b",
    "C1": "a\x9b2Jb",
    "carriage return": "a\rb",
    "backspace": "a\x08b",
    "line": "a\nb",
    "bidi": "a\u202eb",
    "isolate": "a\u2066b",
    "zero width": "a\u200bb",
    "joiner": "a\u200db",
    "byte order mark": "a\ufeffb",
    "tag": "a\U000e0041b",
    "line separator": "a\u2028b",
    "surrogate": "a\ud800b",
    "null": "a\0b",
}


def unfit(text: str, but: str = "") -> set[str]:
    """The characters of a text that no terminal may have, by Python's own table."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") and c not in but}


def test_every_character_that_is_not_seen_is_replaced_and_no_other() -> None:
    everything = "".join(map(chr, range(0x110000)))
    shown = fit_for_terminal(everything.replace("\r\n", ""))
    assert not unfit(shown, but="\n\t")
    replaced = {c for c, now in zip(everything, shown, strict=True) if c != now}
    # Code points that this Python does not know yet are of newer versions of the table, or tags.
    assert all(c in unfit(c) or unicodedata.category(c) == "Cn" for c in replaced)
    assert len([c for c in replaced if unicodedata.category(c) == "Cn"]) < 150


@settings(max_examples=50)
@given(ANY)
def test_fit_text_is_as_long_and_stays_so(text: str) -> None:
    shown = fit_for_terminal(text)
    assert fit_for_terminal(shown) == shown
    assert len(shown) == len(text) - text.count("\r\n")
    assert not unfit(one_line(text)) and not unfit(invisible_replaced(text))
    assert len(one_line(text).splitlines()) <= 1


@settings(max_examples=50)
@given(st.dictionaries(ANY, ANY, max_size=3), st.booleans())
def test_json_says_the_same_and_is_fit(value: dict[str, str], ascii_only: bool) -> None:
    text = json_text(value, indent=2, ascii_only=ascii_only)
    assert json.loads(text) == value
    assert not unfit(text, but="\n")
    assert text.isascii() or not ascii_only


@pytest.mark.parametrize("kind", NO_NAMES)
def test_a_name_takes_no_such_character(kind: str) -> None:
    with pytest.raises(NameRefused) as refused:
        plain_name(NO_NAMES[kind], "name", longest=200)
    assert f"U+{ord(NO_NAMES[kind][1]):04X}" in refused.value.message
    assert not unfit(refused.value.message)


@pytest.mark.parametrize("name", ["Rex", "Ève & Bob", "小さい犬", "محمد", "कुत्ता", "Łukasz 🐕", "O’Neil"])
def test_names_of_any_script_are_names(name: str) -> None:
    assert plain_name(f" {name} ", "name", longest=200) == unicodedata.normalize("NFC", name)
    with pytest.raises(NameRefused, match="201 characters"):
        plain_name("x" * 201, "name", longest=200)
