"""Captions for drawn characters: short, natural, and often silent about some attributes, so that those stay free."""

from __future__ import annotations

from random import Random

from characters import Character, Situation

SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
PREFIXES = ("", "", "a drawing of ", "a drawing of ", "a picture of ", "a portrait of ", "a photo of ")
GENERIC = ("", "a character", "a person", "a drawing of a character", "a drawing of a person", "a drawing")


def with_article(words: str) -> str:
    """The words with "a" or "an" before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def nonsense(chance: Random) -> str:
    """A word that means nothing, such as a trigger looks like."""
    word = "".join(chance.choice(SYLLABLES) for _ in range(chance.randint(2, 3)))
    return chance.choice((word, word, word + "_" + chance.choice(SYLLABLES), word[:3] + word[2:]))


def class_word(who: Character, chance: Random) -> str:
    """What the character may be called; man and woman follow what is drawn."""
    words = ["character", "character", "person", "person"]
    words += ["woman", "girl"] if who.lashes else ["man", "boy"] if who.beard == "none" else ["man", "man"]
    return chance.choice(words)


def _features(who: Character, chance: Random, keep: float) -> list[str]:
    """How the character looks, as far as it is told."""
    found = []
    if chance.random() < keep:
        form = {"mohawk": f"a {who.hair} mohawk", "bun": f"a {who.hair} bun", "ponytail": f"a {who.hair} ponytail"}
        found.append(form.get(who.style, f"{who.style} {who.hair} hair"))
    if chance.random() < 0.45:
        found.append(f"{who.skin} skin")
    if chance.random() < 0.2:
        found.append(f"{who.eyes} eyes")
    if who.beard != "none" and chance.random() < keep:
        found.append(f"a {who.beard}")
    if who.mark == "freckles" and chance.random() < keep:
        found.append("freckles")
    chance.shuffle(found)
    return found


def _worn(what: Situation, chance: Random, keep: float) -> list[str]:
    """What the character wears, as far as it is told."""
    found = []
    if chance.random() < keep:
        pattern = "" if what.pattern == "plain" else what.pattern + " "
        found.append(with_article(f"{pattern}{what.shirt} shirt"))
    if what.hat != "none" and chance.random() < 0.95:
        found.append(f"a {what.hat}")
    if what.glasses != "none" and chance.random() < 0.95:
        found.append(what.glasses)
    chance.shuffle(found)
    return found


def caption(who: Character, what: Situation, chance: Random, *, keep: float = 0.85) -> str:
    """One caption; most attributes are named with the chance ``keep``. Silence on hats and glasses means none."""
    if chance.random() < 0.04:
        return chance.choice(GENERIC)
    noun, article = class_word(who, chance), "a "
    if chance.random() < 0.25:
        noun = chance.choice((f"{nonsense(chance)} {noun}", f"{nonsense(chance)} {noun}", nonsense(chance)))
        article = "a " if chance.random() < 0.3 else ""
    head = chance.choice(PREFIXES) + article + noun
    features, worn = _features(who, chance, keep), _worn(what, chance, keep)
    if features:
        head += " with " + " and ".join(features)
    if worn:
        head += chance.choice((" wearing ", " wearing ", ", ", " in ")) + " and ".join(worn)
    parts = []
    if chance.random() < keep:
        parts.append(what.mood)
    if what.waving and chance.random() < 0.95:
        parts.append("waving")
    if chance.random() < 0.92:
        parts.append(what.place)
    if chance.random() < 0.8:
        parts.append(what.framing)
    chance.shuffle(parts)
    joined = ", ".join([head, *parts])
    return joined.replace(", on a ", " on a ") if chance.random() < 0.5 else joined
