"""Captions for drawn characters: short, natural, and often silent about some attributes, so that those stay free."""

from __future__ import annotations

from random import Random

from characters import Character, Situation

SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
PREFIXES = ("", "", "a drawing of ", "a picture of ", "a portrait of ", "a photo of ")


def nonsense(chance: Random) -> str:
    """A word that means nothing, such as a trigger looks like."""
    word = "".join(chance.choice(SYLLABLES) for _ in range(chance.randint(2, 3)))
    return chance.choice((word, word, word + "_" + chance.choice(SYLLABLES), word[:4]))


def class_word(who: Character, chance: Random) -> str:
    """What the character may be called; man and woman follow what is drawn."""
    words = ["character", "character", "person", "person"]
    words += ["woman", "girl"] if who.lashes else ["man", "boy"] if who.beard == "none" else ["man", "man"]
    return chance.choice(words)


def caption(who: Character, what: Situation, chance: Random, *, keep: float = 0.8) -> str:
    """One caption; each attribute is named with the chance ``keep``."""
    if chance.random() < 0.04:
        return chance.choice(("", "a character", "a person", "a drawing of a character"))

    def named(probability: float = keep) -> bool:
        return chance.random() < probability

    noun = class_word(who, chance)
    if chance.random() < 0.3:
        noun = f"{nonsense(chance)} {noun}"
        article = "a " if chance.random() < 0.4 else ""
    else:
        article = "a "
    head = chance.choice(PREFIXES) + article + noun
    features = []
    if named():
        features.append(f"{who.hair} {who.style} hair" if who.style != "mohawk" else f"a {who.hair} mohawk")
    if named(0.4):
        features.append(f"{who.skin} skin")
    if named(0.25):
        features.append(f"{who.eyes} eyes")
    if who.beard != "none" and named():
        features.append(f"a {who.beard}")
    if who.mark == "freckles" and named():
        features.append("freckles")
    worn = []
    if named():
        worn.append(f"a {what.shirt} shirt")
    if what.hat != "none" and named(0.92):
        worn.append(f"a {what.hat}")
    if what.glasses != "none" and named(0.92):
        worn.append(what.glasses)
    parts = []
    if features:
        chance.shuffle(features)
        head += " with " + " and ".join(features)
    if worn:
        chance.shuffle(worn)
        head += (" wearing " if chance.random() < 0.7 else ", ") + " and ".join(worn)
    if named():
        parts.append(what.mood)
    if named(0.9):
        parts.append(what.place)
    if named(0.85):
        parts.append(what.framing)
    chance.shuffle(parts)
    return ", ".join([head, *parts])
