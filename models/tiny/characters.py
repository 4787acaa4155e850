"""Cartoon characters drawn by program, with captions that say what was drawn.

A ``Character`` is who is drawn and stays the same from picture to picture; a ``Situation`` is what changes: clothes,
place, mood and framing. Everything is decided by a ``random.Random``, so a seed gives the same picture everywhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

SKINS: dict[str, Colour] = {
    "pale": (255, 224, 200),
    "tan": (236, 188, 145),
    "brown": (186, 127, 86),
    "dark": (118, 77, 54),
}
HAIRS: dict[str, Colour] = {
    "black": (44, 40, 48),
    "brown": (116, 72, 44),
    "blonde": (240, 202, 104),
    "red": (206, 84, 48),
    "blue": (72, 122, 214),
    "pink": (240, 130, 176),
    "purple": (136, 92, 190),
    "white": (236, 236, 240),
    "green": (84, 176, 92),
}
STYLES = ("short", "long", "curly", "spiky", "bun", "ponytail", "mohawk")
EYES: dict[str, Colour] = {"brown": (92, 58, 36), "blue": (58, 118, 200), "green": (62, 144, 84)}
CLOTHES: dict[str, Colour] = {
    "red": (220, 68, 64),
    "blue": (66, 112, 206),
    "green": (78, 160, 96),
    "yellow": (246, 204, 78),
    "purple": (142, 100, 190),
    "orange": (242, 148, 62),
    "white": (244, 244, 242),
    "black": (58, 58, 66),
}
HATS = ("none", "cap", "beanie", "top hat", "crown")
GLASSES = ("none", "round glasses", "sunglasses")
PLACES = ("on the beach", "in the forest", "in the snow", "in the city", "at night", "in a room")
PLAIN: dict[str, Colour] = {
    "white": (246, 246, 244),
    "blue": (170, 206, 240),
    "green": (188, 224, 184),
    "pink": (248, 206, 216),
    "yellow": (250, 234, 172),
    "grey": (206, 208, 212),
}
MOODS = ("smiling", "laughing", "sad", "surprised", "calm")
FRAMINGS = ("close-up", "half figure", "full figure")
BEARDS = ("none", "beard", "moustache")


@dataclass(frozen=True)
class Character:
    """Who is drawn. ``mark`` is something on the face: none, freckles, or a star that no pre-training picture has."""

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
    hat: str = "none"
    glasses: str = "none"
    dx: float = 0.0
    dy: float = 0.0
    zoom: float = 1.0
    mirrored: bool = False


def random_character(chance: Random) -> Character:
    """A character of the pre-training world: never green mohawks, never a star."""
    hair, style = chance.choice(list(HAIRS)), chance.choice(STYLES)
    if style == "mohawk" and hair == "green":
        hair = "black"
    lashes = chance.random() < 0.45
    beard = "none" if lashes or chance.random() < 0.7 else chance.choice(BEARDS[1:])
    mark = "freckles" if chance.random() < 0.15 else "none"
    return Character(chance.choice(list(SKINS)), hair, style, chance.choice(list(EYES)), lashes, beard, mark)


def random_situation(chance: Random) -> Situation:
    """Any situation; half the places are plain backgrounds."""
    plain = chance.random() < 0.4
    return Situation(
        shirt=chance.choice(list(CLOTHES)),
        place=f"{chance.choice(list(PLAIN))} background" if plain else chance.choice(PLACES),
        mood=chance.choice(MOODS),
        framing=chance.choices(FRAMINGS, (5, 4, 2))[0],
        hat=chance.choice(HATS[1:]) if chance.random() < 0.35 else "none",
        glasses=chance.choice(GLASSES[1:]) if chance.random() < 0.25 else "none",
        dx=chance.uniform(-0.03, 0.03),
        dy=chance.uniform(-0.02, 0.02),
        zoom=chance.uniform(0.94, 1.06),
        mirrored=chance.random() < 0.5,
    )


def _shade(colour: Colour, factor: float) -> Colour:
    return tuple(max(0, min(255, round(c * factor))) for c in colour)  # type: ignore[return-value]


class _Pen:
    """Draws in units of the picture's side, with an outline in a darker shade of the fill."""

    def __init__(self, side: int) -> None:
        self.side = side
        self.image = Image.new("RGB", (side, side), (255, 255, 255))
        self.draw = ImageDraw.Draw(self.image)
        self.line = max(1, round(side * 0.011))

    def _points(self, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return [(x * self.side, y * self.side) for x, y in points]

    def oval(self, x: float, y: float, rx: float, ry: float, fill: Colour, outline: bool = True) -> None:
        box = [c * self.side for c in (x - rx, y - ry, x + rx, y + ry)]
        self.draw.ellipse(box, fill, _shade(fill, 0.62) if outline else None, self.line if outline else 0)

    def box(self, x0: float, y0: float, x1: float, y1: float, fill: Colour, r: float = 0.0, outline: bool = True) -> None:
        box = [c * self.side for c in (x0, y0, x1, y1)]
        edge = _shade(fill, 0.62) if outline else None
        self.draw.rounded_rectangle(box, r * self.side, fill, edge, self.line if outline else 0)

    def shape(self, points: list[tuple[float, float]], fill: Colour, outline: bool = True) -> None:
        self.draw.polygon(self._points(points), fill)
        if outline:
            closed = self._points([*points, points[0], points[1]])
            self.draw.line(closed, _shade(fill, 0.62), self.line, joint="curve")

    def stroke(self, points: list[tuple[float, float]], colour: Colour, width: float) -> None:
        w = max(1, round(width * self.side))
        self.draw.line(self._points(points), colour, w, joint="curve")
        for x, y in (points[0], points[-1]):
            self.oval(x, y, width / 2, width / 2, colour, outline=False)

    def arc(self, x: float, y: float, rx: float, ry: float, start: float, end: float, colour: Colour, width: float) -> None:
        turns = [math.radians(start + (end - start) * i / 12) for i in range(13)]
        self.stroke([(x + rx * math.cos(t), y + ry * math.sin(t)) for t in turns], colour, width)


def _place(pen: _Pen, place: str) -> None:
    if place.endswith(" background"):
        pen.box(-0.1, -0.1, 1.1, 1.1, PLAIN[place.removesuffix(" background")], outline=False)
    elif place == "on the beach":
        pen.box(-0.1, -0.1, 1.1, 0.5, (156, 214, 246), outline=False)
        pen.oval(0.84, 0.15, 0.09, 0.09, (255, 232, 130), outline=False)
        pen.box(-0.1, 0.48, 1.1, 0.7, (62, 148, 206), outline=False)
        pen.box(-0.1, 0.66, 1.1, 1.1, (244, 218, 160), outline=False)
    elif place == "in the forest":
        pen.box(-0.1, -0.1, 1.1, 0.72, (206, 232, 200), outline=False)
        for x, h in ((0.08, 0.1), (0.27, 0.24), (0.73, 0.2), (0.93, 0.08)):
            pen.box(x - 0.025, 0.5, x + 0.025, 0.8, (124, 84, 54), outline=False)
            pen.shape([(x, h), (x - 0.15, h + 0.5), (x + 0.15, h + 0.5)], (64, 132, 78), outline=False)
        pen.box(-0.1, 0.74, 1.1, 1.1, (120, 184, 98), outline=False)
    elif place == "in the snow":
        pen.box(-0.1, -0.1, 1.1, 0.7, (200, 220, 240), outline=False)
        pen.shape([(-0.1, 0.7), (0.2, 0.25), (0.52, 0.7)], (158, 180, 208), outline=False)
        pen.shape([(0.45, 0.7), (0.8, 0.16), (1.15, 0.7)], (140, 164, 196), outline=False)
        pen.box(-0.1, 0.66, 1.1, 1.1, (250, 252, 255), outline=False)
        for i in range(14):
            pen.oval((i * 0.37 + 0.05) % 1, (i * 0.23 + 0.04) % 0.95, 0.014, 0.014, (255, 255, 255), outline=False)
    elif place == "in the city":
        pen.box(-0.1, -0.1, 1.1, 0.82, (250, 214, 176), outline=False)
        for x, top, tint in ((0.0, 0.3, 0), (0.17, 0.12, 18), (0.66, 0.2, 8), (0.84, 0.06, 22)):
            pen.box(x, top, x + 0.18, 0.82, (126 + tint, 132 + tint, 160 + tint), outline=False)
            for row in range(4):
                for column in range(2):
                    wx, wy = x + 0.035 + column * 0.07, top + 0.05 + row * 0.12
                    pen.box(wx, wy, wx + 0.045, wy + 0.055, (255, 240, 176), outline=False)
        pen.box(-0.1, 0.8, 1.1, 1.1, (128, 128, 138), outline=False)
    elif place == "at night":
        pen.box(-0.1, -0.1, 1.1, 0.78, (40, 48, 98), outline=False)
        pen.oval(0.18, 0.18, 0.09, 0.09, (250, 244, 206), outline=False)
        for i in range(12):
            pen.oval((i * 0.41 + 0.33) % 1, (i * 0.19 + 0.05) % 0.6, 0.011, 0.011, (255, 250, 220), outline=False)
        pen.box(-0.1, 0.76, 1.1, 1.1, (54, 78, 92), outline=False)
    else:
        pen.box(-0.1, -0.1, 1.1, 0.76, (238, 214, 186), outline=False)
        pen.box(0.04, 0.1, 0.28, 0.44, (180, 218, 244))
        pen.box(0.155, 0.1, 0.165, 0.44, (148, 118, 92), outline=False)
        pen.box(0.74, 0.14, 0.96, 0.36, (214, 120, 100))
        pen.box(-0.1, 0.74, 1.1, 1.1, (176, 126, 88), outline=False)


def _hair_behind(pen: _Pen, who: Character, x: float, y: float, r: float) -> None:
    colour = HAIRS[who.hair]
    if who.style == "long":
        pen.box(x - 1.12 * r, y - 0.75 * r, x + 1.12 * r, y + 1.75 * r, colour, r * 0.85)
    elif who.style == "curly":
        for turn in range(11):
            a = math.radians(150 + turn * 24)
            pen.oval(x + 1.02 * r * math.cos(a), y + 0.98 * r * math.sin(a), 0.4 * r, 0.4 * r, colour)
    elif who.style == "bun":
        pen.oval(x, y - 1.32 * r, 0.46 * r, 0.42 * r, colour)
    elif who.style == "ponytail":
        pen.shape(
            [(x + 0.6 * r, y - 0.7 * r), (x + 1.7 * r, y - 0.5 * r), (x + 1.75 * r, y + 1.1 * r), (x + 1.1 * r, y + 0.6 * r)],
            colour,
        )


def _hair_front(pen: _Pen, who: Character, x: float, y: float, r: float) -> None:
    colour = HAIRS[who.hair]
    if who.style == "mohawk":
        points = [(x - 0.3 * r, y - 0.78 * r)]
        for i in range(7):
            up = 0.95 if i % 2 else 1.55
            points.append((x + (-0.36 + 0.12 * i) * r, y - (up + 0.12) * r))
        pen.shape([*points, (x + 0.3 * r, y - 0.78 * r)], colour)
        return
    if who.style == "spiky":
        points = [(x - 1.02 * r, y - 0.1 * r)]
        for i in range(9):
            a = math.radians(190 + i * 20)
            reach = 1.5 if i % 2 else 1.06
            points.append((x + reach * r * math.cos(a), y + reach * r * math.sin(a)))
        pen.shape([*points, (x + 1.02 * r, y - 0.1 * r), (x + 0.5 * r, y - 0.52 * r), (x - 0.5 * r, y - 0.52 * r)], colour)
        return
    cap = [(x + 1.04 * r * math.cos(math.radians(a)), y + 1.08 * r * math.sin(math.radians(a))) for a in range(176, 365, 9)]
    fringe = [(x + 0.82 * r, y - 0.3 * r), (x + 0.3 * r, y - 0.5 * r), (x - 0.15 * r, y - 0.34 * r), (x - 0.82 * r, y - 0.24 * r)]
    if who.style == "bun":
        fringe = [(x + 0.8 * r, y - 0.42 * r), (x, y - 0.66 * r), (x - 0.8 * r, y - 0.42 * r)]
    pen.shape(cap + fringe, colour)


def _face(pen: _Pen, who: Character, what: Situation, x: float, y: float, r: float) -> None:
    ink: Colour = (52, 40, 44)
    hair = _shade(HAIRS[who.hair], 0.8)
    for side in (-1, 1):
        ex = x + side * 0.38 * r
        wide = 1.25 if what.mood == "surprised" else 1.0
        pen.oval(ex, y + 0.02 * r, 0.19 * r, 0.22 * r * wide, (255, 255, 255))
        pen.oval(ex, y + 0.05 * r, 0.125 * r, 0.145 * r, EYES[who.eyes], outline=False)
        pen.oval(ex, y + 0.06 * r, 0.07 * r, 0.08 * r, (26, 22, 26), outline=False)
        pen.oval(ex + 0.05 * r, y - 0.02 * r, 0.042 * r, 0.042 * r, (255, 255, 255), outline=False)
        lift = {"surprised": 0.12, "sad": 0.02}.get(what.mood, 0.0)
        slope = 0.1 if what.mood == "sad" else -0.03
        brow = [(ex - side * 0.2 * r, y - (0.34 + lift + slope) * r), (ex + side * 0.2 * r, y - (0.34 + lift - slope) * r)]
        pen.stroke(brow, hair, 0.07 * r)
        if who.lashes:
            for k in (0.12, 0.22):
                pen.stroke([(ex + side * k * r, y - 0.14 * r), (ex + side * (k + 0.1) * r, y - 0.26 * r)], ink, 0.045 * r)
    skin = SKINS[who.skin]
    pen.arc(x, y + 0.22 * r, 0.09 * r, 0.07 * r, 0, 180, _shade(skin, 0.7), 0.045 * r)
    for side in (-1, 1):
        cheek = tuple(round(0.72 * a + 0.28 * b) for a, b in zip(skin, (236, 96, 96), strict=True))
        pen.oval(x + side * 0.56 * r, y + 0.34 * r, 0.15 * r, 0.1 * r, cheek, outline=False)  # type: ignore[arg-type]
    if who.mark == "freckles":
        for side in (-1, 1):
            for k in range(3):
                fx, fy = x + side * (0.42 + 0.13 * k) * r, y + (0.27 + 0.07 * (k % 2)) * r
                pen.oval(fx, fy, 0.032 * r, 0.032 * r, _shade(skin, 0.66), outline=False)
    if who.mark == "star":
        centre, points = (x - 0.56 * r, y + 0.36 * r), []
        for k in range(10):
            reach, a = (0.25 if k % 2 == 0 else 0.1) * r, math.radians(-90 + 36 * k)
            points.append((centre[0] + reach * math.cos(a), centre[1] + reach * math.sin(a)))
        pen.shape(points, (250, 206, 40))
    if who.beard == "beard":
        low = [(x + 0.86 * r * math.cos(math.radians(a)), y + 1.02 * r * math.sin(math.radians(a))) for a in range(12, 169, 12)]
        pen.shape([*low, (x - 0.5 * r, y + 0.42 * r), (x, y + 0.36 * r), (x + 0.5 * r, y + 0.42 * r)], hair)
    my = y + 0.52 * r
    if what.mood == "smiling":
        pen.arc(x, my - 0.08 * r, 0.27 * r, 0.2 * r, 15, 165, (150, 50, 54), 0.065 * r)
    elif what.mood == "laughing":
        smile = [(x + 0.32 * r * math.cos(math.radians(a)), my - 0.08 * r + 0.32 * r * math.sin(math.radians(a))) for a in range(0, 181, 15)]
        pen.shape(smile, (166, 52, 58))
        pen.box(x - 0.24 * r, my - 0.08 * r, x + 0.24 * r, my + 0.01 * r, (255, 255, 255), outline=False)
    elif what.mood == "sad":
        pen.arc(x, my + 0.16 * r, 0.22 * r, 0.17 * r, 195, 345, (150, 50, 54), 0.065 * r)
    elif what.mood == "surprised":
        pen.oval(x, my + 0.02 * r, 0.13 * r, 0.17 * r, (140, 44, 50))
    else:
        pen.stroke([(x - 0.18 * r, my), (x + 0.18 * r, my)], (150, 50, 54), 0.06 * r)
    if who.beard == "moustache":
        for side in (-1, 1):
            pen.oval(x + side * 0.17 * r, y + 0.37 * r, 0.2 * r, 0.085 * r, hair, outline=False)


def _glasses(pen: _Pen, kind: str, x: float, y: float, r: float) -> None:
    dark: Colour = (40, 36, 46)
    for side in (-1, 1):
        ex = x + side * 0.39 * r
        if kind == "sunglasses":
            pen.box(ex - 0.29 * r, y - 0.2 * r, ex + 0.29 * r, y + 0.24 * r, dark, 0.12 * r)
            pen.stroke([(ex - 0.14 * r, y + 0.1 * r), (ex + 0.02 * r, y - 0.08 * r)], (120, 124, 150), 0.06 * r)
        else:
            pen.arc(ex, y + 0.02 * r, 0.29 * r, 0.29 * r, 0, 360, dark, 0.06 * r)
        pen.stroke([(ex + side * 0.29 * r, y), (x + side * 0.98 * r, y - 0.06 * r)], dark, 0.05 * r)
    pen.stroke([(x - 0.1 * r, y), (x + 0.1 * r, y)], dark, 0.06 * r)


def _hat(pen: _Pen, kind: str, x: float, y: float, r: float) -> None:
    top = y - 0.52 * r
    if kind == "cap":
        dome = [(x + 1.06 * r * math.cos(math.radians(a)), top + 0.78 * r * math.sin(math.radians(a))) for a in range(180, 361, 12)]
        pen.shape(dome, (214, 62, 70))
        pen.box(x - 0.2 * r, top - 0.1 * r, x + 1.5 * r, top + 0.12 * r, (176, 44, 56), 0.1 * r)
    elif kind == "beanie":
        dome = [(x + 1.06 * r * math.cos(math.radians(a)), top + 0.95 * r * math.sin(math.radians(a))) for a in range(180, 361, 12)]
        pen.shape(dome, (72, 132, 188))
        pen.box(x - 1.1 * r, top - 0.14 * r, x + 1.1 * r, top + 0.18 * r, (238, 240, 244), 0.12 * r)
        pen.oval(x, top - 0.98 * r, 0.22 * r, 0.22 * r, (238, 240, 244))
    elif kind == "top hat":
        pen.box(x - 0.66 * r, top - 1.15 * r, x + 0.66 * r, top + 0.08 * r, (50, 48, 60), 0.05 * r)
        pen.box(x - 0.66 * r, top - 0.22 * r, x + 0.66 * r, top - 0.02 * r, (206, 66, 74), outline=False)
        pen.box(x - 1.14 * r, top - 0.04 * r, x + 1.14 * r, top + 0.14 * r, (50, 48, 60), 0.08 * r)
    elif kind == "crown":
        low, high = top + 0.1 * r, top - 0.7 * r
        points = [(x - 0.78 * r, low)]
        for i in range(7):
            points.append((x + (-0.82 + 1.64 * i / 6) * r, high if i % 2 == 0 else top - 0.22 * r))
        pen.shape([*points, (x + 0.78 * r, low)], (250, 204, 66))
        for i in range(3):
            pen.oval(x + (i - 1) * 0.46 * r, top - 0.06 * r, 0.09 * r, 0.09 * r, (214, 60, 80), outline=False)


def _body(pen: _Pen, who: Character, what: Situation, x: float, y: float, r: float) -> None:
    shirt, skin = CLOTHES[what.shirt], SKINS[who.skin]
    top = y + 1.12 * r
    if what.framing == "full figure":
        for side in (-1, 1):
            pen.box(x + side * 0.42 * r - 0.3 * r, top + 1.7 * r, x + side * 0.42 * r + 0.3 * r, top + 3.5 * r, (70, 84, 122), 0.1 * r)
            pen.oval(x + side * 0.5 * r, top + 3.52 * r, 0.44 * r, 0.22 * r, (74, 52, 46))
            pen.shape(
                [(x + side * 0.8 * r, top + 0.2 * r), (x + side * 1.12 * r, top + 0.4 * r), (x + side * 1.5 * r, top + 1.6 * r), (x + side * 1.12 * r, top + 1.75 * r)],
                shirt,
            )
            pen.oval(x + side * 1.33 * r, top + 1.78 * r, 0.25 * r, 0.25 * r, skin)
        pen.box(x - 0.92 * r, top, x + 0.92 * r, top + 2.0 * r, shirt, 0.4 * r)
    else:
        pen.box(x - 1.5 * r, top, x + 1.5 * r, top + 4 * r, shirt, 0.75 * r)
    pen.box(x - 0.34 * r, y + 0.6 * r, x + 0.34 * r, top + 0.16 * r, _shade(skin, 0.9), 0.14 * r)
    pen.arc(x, top + 0.02 * r, 0.44 * r, 0.26 * r, 5, 175, _shade(shirt, 0.62), 0.06 * r)


def draw_character(who: Character, what: Situation, size: int = 128) -> Image.Image:
    """Draw ``size`` x ``size`` pixels, smoothed by drawing at three times that."""
    pen = _Pen(size * 3)
    _place(pen, what.place)
    r = {"close-up": 0.255, "half figure": 0.185, "full figure": 0.118}[what.framing] * what.zoom
    y = {"close-up": 0.47, "half figure": 0.40, "full figure": 0.30}[what.framing] + what.dy
    x = 0.5 + what.dx
    if what.hat in ("top hat", "crown") and what.framing == "close-up":
        y += 0.07
    _hair_behind(pen, who, x, y, r)
    _body(pen, who, what, x, y, r)
    for side in (-1, 1):
        pen.oval(x + side * 0.98 * r, y + 0.08 * r, 0.17 * r, 0.22 * r, SKINS[who.skin])
    pen.oval(x, y + 0.04 * r, r, 1.1 * r, SKINS[who.skin])
    _hair_front(pen, who, x, y, r)
    _face(pen, who, what, x, y, r)
    if what.glasses != "none":
        _glasses(pen, what.glasses, x, y, r)
    if what.hat != "none":
        _hat(pen, what.hat, x, y, r)
    image = pen.image.resize((size, size), Image.Resampling.LANCZOS)
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if what.mirrored else image
