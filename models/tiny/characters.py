"""Cartoon characters drawn by program.

A ``Character`` is who is drawn and stays the same from picture to picture; a ``Situation`` is what changes: clothes,
place, mood and framing. Everything is decided by a ``random.Random``, so a seed gives the same picture everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from PIL import Image

from figures import CLOTHES, EYES, HAIRS, SKINS, Face, draw_body, draw_face, draw_hair, draw_hat
from pen import Pen
from places import PAPER, PLACES, PLAIN, draw_place

STYLES = ("short", "long", "curly", "spiky", "bun", "ponytail", "mohawk")
HATS = ("none", "cap", "beanie", "top hat", "crown")
GLASSES = ("none", "round glasses", "sunglasses")
PATTERNS = ("plain", "striped", "dotted")
MOODS = ("smiling", "laughing", "sad", "surprised", "calm")
BEARDS = ("none", "beard", "moustache")
FRAMINGS: dict[str, tuple[float, float]] = {
    "close-up": (0.265, 0.49),
    "half figure": (0.195, 0.415),
    "full figure": (0.142, 0.335),
}
"""For each framing the head's radius and the height of its middle, in sides of the picture."""


@dataclass(frozen=True)
class Character:
    """Who is drawn. ``mark`` is on the face: none, freckles, or a star that no pre-training picture has."""

    skin: str
    hair: str
    style: str
    eyes: str
    lashes: bool = False
    beard: str = "none"
    mark: str = "none"


@dataclass(frozen=True)
class Situation:
    """What changes from picture to picture. ``place`` is one of PLACES or ``"<colour> background"``."""

    shirt: str
    place: str
    mood: str
    framing: str
    pattern: str = "plain"
    hat: str = "none"
    glasses: str = "none"
    waving: bool = False
    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 1.0
    mirrored: bool = False


def random_character(chance: Random) -> Character:
    """A character of the pre-training world: never a green mohawk, never a star."""
    hair, style = chance.choice(list(HAIRS)), chance.choice(STYLES)
    if style == "mohawk" and hair == "green":
        hair = "black"
    lashes = (style in ("long", "bun", "ponytail") and chance.random() < 0.8) or chance.random() < 0.25
    beard = "none" if lashes or chance.random() < 0.6 else chance.choice(BEARDS[1:])
    mark = "freckles" if chance.random() < 0.15 else "none"
    return Character(chance.choice(list(SKINS)), hair, style, chance.choice(list(EYES)), lashes, beard, mark)


def random_situation(chance: Random) -> Situation:
    """Any situation; 35 in 100 places are plain backgrounds."""
    plain = chance.random() < 0.35
    framing = chance.choices(list(FRAMINGS), (5, 5, 2))[0]
    return Situation(
        shirt=chance.choice(list(CLOTHES)),
        place=f"{chance.choice(list(PLAIN))} background" if plain else chance.choice(list(PLACES)),
        mood=chance.choices(MOODS, (4, 3, 2, 2, 2))[0],
        framing=framing,
        pattern=chance.choices(PATTERNS, (6, 2, 1))[0],
        hat=chance.choice(HATS[1:]) if chance.random() < 0.35 else "none",
        glasses=chance.choice(GLASSES[1:]) if chance.random() < 0.25 else "none",
        waving=framing != "close-up" and chance.random() < 0.2,
        dx=chance.uniform(-0.03, 0.03),
        dy=chance.uniform(-0.02, 0.02),
        zoom=chance.uniform(0.94, 1.06),
        mirrored=chance.random() < 0.5,
    )


def draw_character(who: Character, what: Situation, size: int = 128) -> Image.Image:
    """Draw ``size`` x ``size`` pixels, smoothed by drawing at three times that."""
    pen = Pen(size * 3, PAPER)
    draw_place(pen, what.place)
    radius, y = FRAMINGS[what.framing]
    if what.hat in ("top hat", "crown") and what.framing == "close-up":
        y += 0.06
    pen.move(0.5 + what.dx, y + what.dy, radius * what.zoom)
    skin, hair = SKINS[who.skin], HAIRS[who.hair]
    draw_hair(pen, hair, who.style, behind=True)
    draw_body(pen, skin, CLOTHES[what.shirt], what.pattern, full=what.framing == "full figure", waving=what.waving)
    draw_face(
        pen, Face(skin, hair, EYES[who.eyes], who.lashes, who.beard, who.mark, what.mood, what.glasses, who.style)
    )
    draw_hair(pen, hair, who.style, behind=False, hat=what.hat != "none")
    draw_hat(pen, what.hat)
    image = pen.image.resize((size, size), Image.Resampling.BOX)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if what.mirrored else image
