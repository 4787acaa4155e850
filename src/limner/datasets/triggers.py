"""Names: slugs that are safe as folder and repo names, and triggers that mean nothing to a base yet."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from functools import cache
from importlib.resources import files

from limner.errors import NameRefused
from limner.types import Finding, Severity

__all__ = ["check_slug", "check_trigger", "is_common", "propose_slug", "propose_trigger"]

LONGEST_SLUG = 64
LONGEST_TRIGGER = 64
_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")
# Windows keeps these names for devices, whatever the folder.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})
_TRIGGER = re.compile(r"\w+(?:[ .'’-]\w+)*")
_SUFFIX = "lmn"


def check_slug(slug: str) -> str:
    """Give the slug back if it can name folders and repos; else NameRefused proposes one that can."""
    if len(slug) <= LONGEST_SLUG and _SLUG.fullmatch(slug) and slug not in _DEVICES:
        return slug
    if not slug.strip():
        reason = "is empty"
    elif len(slug) > LONGEST_SLUG:
        reason = f"has {len(slug)} characters, more than {LONGEST_SLUG}"
    elif slug in _DEVICES:
        reason = "is a name that Windows keeps for a device"
    else:
        reason = "may hold only a-z, 0-9 and single - or _ between them"
    raise NameRefused(f"The slug {_shown(slug)} {reason}.", remedy=f"Try '{propose_slug(slug)}'.", thing=slug[:80])


def check_trigger(trigger: str, class_word: str) -> list[Finding]:
    """What speaks against a trigger beside a class word, as warnings. NameRefused: it cannot stand in a caption."""
    if not _TRIGGER.fullmatch(trigger) or len(trigger) > LONGEST_TRIGGER:
        raise NameRefused(
            f"The trigger {_shown(trigger)} must be 1 to {LONGEST_TRIGGER} letters, digits, _ or -, "
            "with single spaces at most.",
            remedy=f"Try '{propose_trigger(trigger)}'.",
            thing=trigger[:80],
        )
    if not _TRIGGER.fullmatch(class_word) or len(class_word) > LONGEST_TRIGGER:
        raise NameRefused(
            f"The class word {_shown(class_word)} must be a plain word or two, such as person, dog or teapot.",
            remedy="Say in one word what the subject is.",
            thing=class_word[:80],
        )
    remedy = f"Try '{propose_trigger(trigger)}'."
    found: list[Finding] = []

    def warn(code: str, message: str) -> None:
        found.append(Finding(code, Severity.WARNING, message, remedy))

    if trigger.casefold() == class_word.casefold():
        warn("trigger-is-class-word", f"The trigger '{trigger}' is the class word itself: every one would be drawn so.")
    elif is_common(trigger):
        warn("trigger-is-common", f"The trigger '{trigger}' is a common word; the base has a meaning for it already.")
    if len(trigger) < 3:
        warn("trigger-is-short", f"The trigger '{trigger}' is very short; it occurs by chance inside other words.")
    if trigger.isdecimal():
        warn("trigger-is-number", f"The trigger '{trigger}' is only a number, which prompts use for counting.")
    if not trigger.isascii():
        warn("trigger-not-ascii", f"The trigger '{trigger}' has letters outside a-z; text encoders may not know them.")
    return found


def propose_trigger(name: str) -> str:
    """A trigger made from a name: 'John Doe' gives john_doe, and a common word such as 'Dog' gives dog_lmn."""
    words = _words(name)
    trigger = "_".join(words)[: LONGEST_TRIGGER - len(_SUFFIX) - 1].rstrip("_")
    if not words:
        return f"subject_{_mark(name)}"
    if len(trigger) < 3 or trigger.isdecimal() or is_common(trigger):
        return f"{trigger}_{_SUFFIX}"
    return trigger


def propose_slug(name: str) -> str:
    """A slug made from a name: 'Ève & Bob' gives eve-bob; a name without Latin letters gives subject-<digits>."""
    slug = re.sub(r"-?_-?", "_", "-".join(_words(name, keep="_")))[:LONGEST_SLUG].strip("-_")
    slug = re.sub(r"_+", "_", slug)
    if not slug:
        return f"subject-{_mark(name)}"
    return f"{slug}-1" if slug in _DEVICES else slug


def is_common(trigger: str) -> bool:
    """Whether every word of a trigger is among the common English words that ship with Limner."""
    words = re.split(r"[ _.'’-]+", trigger.casefold())
    return all(word in _common_words() for word in words)


@cache
def _common_words() -> frozenset[str]:
    text = files("limner.datasets").joinpath("common_words.txt").read_text(encoding="utf-8")
    return frozenset(word for line in text.splitlines() if not line.startswith("#") for word in line.split())


def _words(name: str, keep: str = "") -> list[str]:
    folded = unicodedata.normalize("NFKD", name.casefold())
    latin = "".join(letter for letter in folded if not unicodedata.combining(letter))
    return re.findall(rf"[a-z0-9{keep}]+", latin)


def _mark(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:6]


def _shown(name: str) -> str:
    return repr(name if len(name) <= 60 else name[:60] + "…")
