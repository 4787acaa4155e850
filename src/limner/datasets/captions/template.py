"""Captions: one clean line of text a photo, with the trigger and class word filled in."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches

from limner.errors import CaptionRefused
from limner.types import SubjectFacts

__all__ = [
    "DEFAULT_TEMPLATE",
    "check_template",
    "clean_caption",
    "fill",
    "has_trigger",
    "plain_braces",
]

DEFAULT_TEMPLATE = "a photo of {trigger} {class_word}"
LONGEST_CAPTION = 4000
PLACEHOLDERS = ("trigger", "class_word")

_BRACES = re.compile(r"\{\{|\}\}|\{(\w*)\}|\[(trigger)\]")


def clean_caption(text: str) -> str:
    """The text as one line: NFC, each run of white space one space, no control characters.

    CaptionRefused: it is longer than 4,000 characters, or holds half a surrogate pair, which is no character.
    """
    if not text.isprintable():
        text = "".join(letter for letter in text if letter.isspace() or unicodedata.category(letter) != "Cc")
    line = " ".join(unicodedata.normalize("NFC", text.replace("\ufeff", "")).split())
    if len(line) > LONGEST_CAPTION:
        raise CaptionRefused(
            f"A caption has {len(line)} characters, more than {LONGEST_CAPTION}.",
            remedy="Shorten it; text encoders read a few hundred words at most.",
            thing=line[:60],
        )
    if any("\ud800" <= letter <= "\udfff" for letter in line):
        raise CaptionRefused(
            "A caption holds half a surrogate pair, which is no character.", remedy="Write it anew as UTF-8."
        )
    return line


def fill(template: str, subject: SubjectFacts) -> str:
    """Fill ``{trigger}`` (or ``[trigger]``) and ``{class_word}`` into a template or caption, as one clean line.

    ``{{`` and ``}}`` stand for braces. CaptionRefused: another placeholder, or nothing is left.
    """
    check_template(template)
    values = {"trigger": subject.trigger, "class_word": subject.class_word}
    caption = clean_caption(_BRACES.sub(lambda found: _filled(found, values), template))
    if not caption:
        raise CaptionRefused("The caption is empty.", remedy=f"Write one, such as '{DEFAULT_TEMPLATE}'.")
    return caption


def check_template(template: str) -> None:
    """CaptionRefused names a placeholder that is not known, with what was perhaps meant."""
    for found in _BRACES.finditer(template):
        name = found[1]
        if name is not None and name not in PLACEHOLDERS:
            near = get_close_matches(name, PLACEHOLDERS, n=1) or PLACEHOLDERS
            meant = " or ".join(f"{{{known}}}" for known in near)
            raise CaptionRefused(
                f"The caption '{template[:80]}' has the unknown placeholder {{{name[:40]}}}.",
                remedy=f"Use {meant}; write {{{{ and }}}} for braces.",
                thing=name[:40],
            )


def plain_braces(caption: str) -> str:
    """A caption by someone who knows no placeholders: braces that are none of ours become plain ones."""
    known = [f"{{{name}}}" for name in PLACEHOLDERS]
    pieces = re.split(f"({'|'.join(map(re.escape, known))})", caption)
    return "".join(piece if piece in known else piece.replace("{", "{{").replace("}", "}}") for piece in pieces)


def has_trigger(caption: str, trigger: str) -> bool:
    """Whether a caption, filled or not yet, names the trigger as words of its own."""
    if "{trigger}" in caption or "[trigger]" in caption:
        return True
    return re.search(rf"(?<!\w){re.escape(trigger)}(?!\w)", caption) is not None


def _filled(found: re.Match[str], values: Mapping[str, str]) -> str:
    name = found[1] or found[2]
    return values[name] if name else found[0][0]
