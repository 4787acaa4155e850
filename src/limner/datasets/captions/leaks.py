"""Leaks: what a caption tells of the subject that its trigger should carry, and how often it names the trigger."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from limner.datasets.triggers import is_common
from limner.types import SubjectFacts

__all__ = ["Leak", "find_leaks", "leak_table", "trigger_count"]

SUBJECT = "<subject>"
_PLACEHOLDER = r"\{trigger\}|\[trigger\]|\{class_word\}"
_SHORTEST_NAME = 3


@dataclass(frozen=True, slots=True)
class Leak:
    """One trait that a caption tells: its title (hair, coat, name ...) and the words as they stand in the caption."""

    trait: str
    words: str


def find_leaks(caption: str, subject: SubjectFacts) -> tuple[Leak, ...]:
    """The traits of a subject that its caption, filled or not yet, gives away; each words once, in their order."""
    found: dict[tuple[int, int], Leak] = {}
    for title, pattern in _patterns(subject):
        for match in pattern.finditer(caption):
            start, end = match.span()
            # What overlaps is one thing said: "dark brown hair" and "brown hair", "30-year-old" and "old woman".
            for span in [one for one in found if one[0] < end and start < one[1]]:
                earlier = found.pop(span)
                title = earlier.trait if span[1] - span[0] > match.end() - match.start() else title
                start, end = min(start, span[0]), max(end, span[1])
            found[start, end] = Leak(title, caption[start:end])
    return tuple(dict.fromkeys(leak for _, leak in sorted(found.items())))


def trigger_count(caption: str, trigger: str) -> int:
    """How often a caption, filled or not yet, names the trigger as words of its own."""
    return len(re.findall(rf"\{{trigger\}}|\[trigger\]|(?<!\w){re.escape(trigger)}(?!\w)", caption))


@cache
def leak_table() -> Mapping[str, Any]:
    """``leak_words.toml``: the traits, and the words for people and animals."""
    return tomllib.loads(files("limner.datasets").joinpath("leak_words.toml").read_text(encoding="utf-8"))


@cache
def _patterns(subject: SubjectFacts) -> tuple[tuple[str, re.Pattern[str]], ...]:
    table = leak_table()
    kind = subject.kind.value
    generic = {"person": table["people"], "character": table["people"], "pet": table["animals"]}.get(kind, [])
    nouns = f"{_PLACEHOLDER}|{_any([subject.trigger, subject.class_word, *generic])}"
    made = [("name", re.compile(rf"(?<!\w)(?:{_any(names)})(?!\w)"))] if (names := _names(subject)) else []
    for trait in table["traits"]:
        if kind not in trait["kinds"]:
            continue
        if trait.get("words"):
            made.append((trait["title"], _whole(_any(trait["words"]))))
        if trait.get("first"):
            plain = [word for word in trait["then"] if word != SUBJECT]
            after = "|".join([_any(plain)] * bool(plain) + [nouns] * (SUBJECT in trait["then"]))
            # One word may stand between, but no comma and no new phrase: "black dog", "black little dog".
            between = r"(?:[\s-]+(?!and\b|or\b|with\b|in\b|on\b|of\b)\w+)?[\s-]+"
            made.append((trait["title"], _whole(f"(?:{_any(trait['first'])}){between}(?:{after})")))
    return tuple(made)


def _names(subject: SubjectFacts) -> list[str]:
    """The subject's name and its parts as a caption would write them; common words are no names."""
    known = {subject.trigger.casefold(), subject.class_word.casefold()}
    parts = [subject.name, *re.findall(r"\w+", subject.name)]
    # With a capital only, if it has one: a kettle called Copper is no copper pan.
    written = [form for part in parts for form in (part, part[:1].upper() + part[1:])]
    return [
        part
        for part in dict.fromkeys(written)
        if len(part) >= _SHORTEST_NAME and part.casefold() not in known and not is_common(part)
    ]


def _any(phrases: Iterable[str]) -> str:
    longest_first = sorted({phrase for phrase in phrases if phrase}, key=lambda phrase: (-len(phrase), phrase))
    return "|".join(r"[\s-]+".join(map(re.escape, re.split(r"[\s-]+", phrase))) for phrase in longest_first)


def _whole(pattern: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w{{\[])(?:{pattern})s?(?![\w}}\]])", re.IGNORECASE)
