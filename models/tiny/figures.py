"""How a character looks: body, face, hair, glasses and hats, in units of the head's radius around its middle."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pen import Colour, Pen, Point, both_sides, edge_of, mix

SKINS: dict[str, Colour] = {
    "pale": (255, 222, 200),
    "tan": (240, 188, 146),
    "brown": (190, 128, 90),
    "dark": (122, 80, 60),
}
HAIRS: dict[str, Colour] = {
    "black": (52, 46, 58),
    "brown": (122, 76, 52),
    "blonde": (246, 206, 108),
    "red": (214, 88, 50),
    "blue": (74, 126, 218),
    "pink": (244, 134, 178),
    "purple": (140, 96, 194),
    "white": (238, 236, 240),
    "green": (84, 178, 96),
}
EYES: dict[str, Colour] = {"brown": (104, 64, 40), "blue": (58, 124, 208), "green": (62, 152, 90)}
CLOTHES: dict[str, Colour] = {
    "red": (222, 70, 70),
    "blue": (68, 116, 212),
    "green": (76, 160, 98),
    "yellow": (248, 204, 80),
    "purple": (146, 102, 194),
    "orange": (244, 148, 66),
    "white": (246, 245, 242),
    "black": (64, 62, 74),
}
WHITE: Colour = (255, 255, 255)
LIPS: Colour = (164, 56, 62)
INK: Colour = (48, 36, 46)


@dataclass(frozen=True)
class Face:
    """What a face needs to be drawn."""

    skin: Colour
    hair: Colour
    eyes: Colour
    lashes: bool
    beard: str
    mark: str
    mood: str
    glasses: str
    style: str


def draw_body(pen: Pen, skin: Colour, shirt: Colour, pattern: str, *, full: bool, waving: bool) -> None:
    """Neck, shirt, arms, and for a full figure legs and shoes."""
    second = mix(shirt, WHITE, 0.75) if shirt != CLOTHES["white"] else (150, 184, 226)
    if full:
        for side in (-1, 1):
            pen.limb([(side * 0.36, 2.4), (side * 0.4, 3.75)], (84, 98, 142), 0.5)
            pen.shape([(side * 0.12, 4.0), (side * 0.3, 3.72), (side * 0.66, 3.78), (side * 0.95, 4.02)], (96, 66, 58))
        arms = [(-1, waving), (1, False)]
        for side, up in arms:
            end: Point = (side * 1.5, 0.75) if up else (side * 1.12, 2.45)
            bend: Point = (side * 1.3, 1.5) if up else (side * 0.98, 1.8)
            pen.limb([(side * 0.62, 1.42), bend, end], shirt, 0.42)
            pen.oval(*end, 0.25, 0.25, skin, edge=True)
        torso = both_sides([(0, 1.05), (0.42, 1.1), (0.78, 1.35), (0.78, 2.0), (0.84, 2.66), (0, 2.74)])
        bottom, reach = 2.7, 0.72
    else:
        torso = both_sides([(0, 1.08), (0.5, 1.12), (1.05, 1.34), (1.42, 1.75), (1.56, 2.6), (1.6, 4.4), (0, 4.6)])
        bottom, reach = 3.4, 1.34
    pen.shape(torso, shirt)
    if pattern == "striped":
        for k in range(4):
            y = 1.62 + k * (0.3 if full else 0.45)
            if y < bottom - 0.1:
                pen.box(-reach, y, reach, y + (0.13 if full else 0.18), second)
    elif pattern == "dotted":
        for k in range(4):
            y = 1.6 + k * (0.32 if full else 0.4)
            for i in range(-3, 4):
                x = (i + 0.5 * (k % 2)) * (0.36 if full else 0.5)
                if abs(x) < reach - 0.1 and y < bottom - 0.1:
                    pen.oval(x, y, 0.08, 0.08, second)
    if not full:
        for side in (-1, 1):
            if not (waving and side < 0):
                pen.stroke([(side * 1.0, 2.15), (side * 0.98, 4)], edge_of(shirt), 0.045)
        if waving:
            pen.limb([(-1.2, 1.9), (-1.75, 1.75), (-1.78, 0.95)], shirt, 0.5)
            pen.oval(-1.78, 0.68, 0.3, 0.32, skin, edge=True)
    pen.shape([(-0.36, 0.7), (0.36, 0.7), (0.38, 1.12), (0, 1.36), (-0.38, 1.12)], mix(skin, (150, 70, 60), 0.2))


def draw_face(pen: Pen, face: Face) -> None:
    """Head, ears, eyes, mouth, beard, marks and glasses."""
    skin = face.skin
    blush = mix(skin, (240, 92, 96), 0.36)
    for side in (-1, 1):
        pen.oval(side * 0.98, 0.12, 0.19, 0.24, skin, edge=True)
        pen.oval(side * 1.0, 0.13, 0.08, 0.12, blush)
    pen.shape(both_sides([(0, -1.06), (0.62, -0.88), (0.99, -0.2), (0.92, 0.45), (0.55, 0.92), (0, 1.1)]), skin)
    if face.style == "mohawk":
        shaved = both_sides([(0, -1.04), (0.6, -0.86), (0.96, -0.25), (0.9, -0.1), (0.62, -0.55), (0, -0.66)])
        pen.shape(shaved, mix(skin, face.hair, 0.28), edge=False)
    for side in (-1, 1):
        pen.oval(side * 0.6, 0.42, 0.18, 0.12, blush)
    if face.beard == "beard":
        jaw: list[Point] = [(0.98, 0.05), (0.96, 0.55), (0.6, 1.06), (0, 1.26)]
        inside: list[Point] = [(0.84, 0.3), (0.58, 0.46), (0.2, 0.36)]
        outline = [*jaw, *((-x, y) for x, y in reversed(jaw[:-1])), *((-x, y) for x, y in inside), *reversed(inside)]
        pen.shape(outline, mix(face.hair, INK, 0.12))
    _eyes(pen, face)
    pen.arc(0, 0.25, 0.1, 0.085, 10, 170, mix(skin, (120, 50, 50), 0.42), 0.055)
    _mouth(pen, face.mood)
    if face.beard == "moustache":
        tips = both_sides([(0, 0.37), (0.2, 0.33), (0.46, 0.5), (0.22, 0.52), (0, 0.46)])
        pen.shape(tips, mix(face.hair, INK, 0.12))
    if face.mark == "freckles":
        for side in (-1, 1):
            for x, y in ((0.36, 0.3), (0.5, 0.36), (0.64, 0.3), (0.56, 0.47), (0.42, 0.45)):
                pen.oval(side * x, y, 0.034, 0.034, mix(skin, (140, 62, 40), 0.55))
    if face.mark == "star":
        _star(pen, -0.56, 0.4, 0.36)
    if face.glasses != "none":
        _glasses(pen, face.glasses)


def _star(pen: Pen, x: float, y: float, size: float) -> None:
    points = []
    for k in range(10):
        reach, turn = size * (1 if k % 2 == 0 else 0.45), math.radians(-90 + 36 * k)
        points.append((x + reach * math.cos(turn), y + reach * math.sin(turn)))
    pen.shape(points, (255, 208, 40), curved=False)


def _eyes(pen: Pen, face: Face) -> None:
    tall = {"surprised": 0.31, "laughing": 0.24}.get(face.mood, 0.26)
    lift = {"surprised": 0.12, "laughing": 0.05}.get(face.mood, 0.0)
    slope = {"sad": 0.1, "calm": 0.0}.get(face.mood, -0.03)
    brow = mix(face.hair, INK, 0.35)
    for side in (-1, 1):
        x = side * 0.4
        pen.oval(x, 0.02, 0.2, tall, WHITE, edge=True)
        pen.oval(x - side * 0.02, 0.05, 0.145, 0.185, face.eyes)
        pen.oval(x - side * 0.02, 0.06, 0.085, 0.11, INK)
        pen.oval(x + 0.04, -0.03, 0.055, 0.06, WHITE)
        pen.arc(x, 0.02, 0.2, tall, 200, 340, INK, 0.065)
        if face.lashes:
            for a, b in ((0.15, 0.27), (0.2, 0.36)):
                pen.stroke([(x + side * a, -0.3 + a), (x + side * b, -0.42 + a)], INK, 0.06)
        inner, outer = -0.42 - lift - slope, -0.42 - lift + slope
        pen.stroke([(x - side * 0.18, inner), (x, -0.47 - lift), (x + side * 0.2, outer)], brow, 0.085)


def _mouth(pen: Pen, mood: str) -> None:
    if mood == "smiling":
        pen.arc(0, 0.5, 0.3, 0.22, 15, 165, LIPS, 0.075)
    elif mood == "laughing":
        pen.shape([(-0.36, 0.52), (0, 0.55), (0.36, 0.52), (0.26, 0.8), (0, 0.9), (-0.26, 0.8)], (150, 44, 54))
        pen.box(-0.25, 0.555, 0.25, 0.64, WHITE, 0.03)
        pen.oval(0, 0.82, 0.13, 0.06, (236, 110, 110))
    elif mood == "sad":
        pen.arc(0, 0.82, 0.24, 0.2, 200, 340, LIPS, 0.075)
    elif mood == "surprised":
        pen.oval(0, 0.7, 0.14, 0.19, (140, 42, 52), edge=True)
    else:
        pen.stroke([(-0.18, 0.66), (0.18, 0.66)], LIPS, 0.075)


def _glasses(pen: Pen, kind: str) -> None:
    dark: Colour = (44, 38, 52)
    for side in (-1, 1):
        x = side * 0.42
        if kind == "sunglasses":
            lens = [(x - 0.32, -0.2), (x + 0.32, -0.2), (x + 0.28, 0.2), (x, 0.3), (x - 0.28, 0.2)]
            pen.shape(lens, dark, edge=False)
            pen.stroke([(x - 0.14, 0.1), (x + 0.02, -0.1)], (120, 124, 152), 0.07)
        else:
            pen.arc(x, 0.02, 0.31, 0.33, 0, 360, dark, 0.075)
        pen.stroke([(x + side * 0.3, -0.04), (side * 0.98, -0.08)], dark, 0.06)
    pen.stroke([(-0.13, -0.04), (0.13, -0.04)], dark, 0.07)


def draw_hair(pen: Pen, colour: Colour, style: str, *, behind: bool, hat: bool = False) -> None:
    """The part of the hair behind the head and body, or the part in front; a hat presses it down."""
    shine = mix(colour, WHITE, 0.3)
    if behind:
        _hair_behind(pen, colour, style)
        return
    if style == "mohawk":
        if not hat:
            fin = [(-0.3, -0.72), (-0.5, -1.3), (-0.3, -1.25), (-0.32, -1.7), (-0.08, -1.45), (0.04, -1.85), (0.16, -1.42),
                   (0.4, -1.6), (0.36, -1.2), (0.54, -1.15), (0.3, -0.72), (0, -0.62)]  # fmt: skip
            pen.shape(fin, colour, curved=False)
            pen.stroke([(-0.05, -0.85), (-0.02, -1.35)], shine, 0.07)
        return
    if style == "spiky":
        tips = [(-1.08, 0.1)]
        for i in range(9):
            turn = math.radians(188 + i * 20.5)
            reach = 1.12 if i % 2 == 0 or hat else 1.52
            tips.append((reach * math.cos(turn), reach * math.sin(turn) * 1.02))
        fringe = [(1.06, 0.1), (0.86, -0.3), (0.62, -0.62), (0.4, -0.36), (0.1, -0.64), (-0.15, -0.36), (-0.42, -0.64),
                  (-0.66, -0.36), (-0.86, -0.3)]  # fmt: skip
        pen.shape([*tips, *fringe], colour, curved=False)
        return
    if style == "curly":
        for turn in range(9):
            a = math.radians(192 + turn * 19.5)
            pen.oval(0.86 * math.cos(a), 0.9 * math.sin(a), 0.33, 0.31, colour, edge=True)
        pen.shape(both_sides([(0, -1.1), (0.6, -0.92), (0.84, -0.5), (0.3, -0.62), (0, -0.58)]), colour, edge=False)
        for x, y in ((-0.5, -0.9), (0.1, -1.05), (0.6, -0.75)):
            pen.arc(x, y, 0.14, 0.12, 180, 330, shine, 0.055)
        return
    crown: list[Point] = [
        (-1.06, 0.12),
        (-1.1, -0.5),
        (-0.74, -1.08),
        (0, -1.28),
        (0.74, -1.08),
        (1.1, -0.5),
        (1.06, 0.12),
    ]
    fringes: dict[str, list[Point]] = {
        "short": [(0.9, -0.12), (0.78, -0.46), (0.3, -0.66), (-0.3, -0.42), (-0.8, -0.42), (-0.9, -0.12)],
        "ponytail": [(0.9, -0.12), (0.74, -0.4), (0.2, -0.42), (-0.5, -0.74), (-0.84, -0.4), (-0.9, -0.12)],
        "bun": [(0.92, -0.16), (0.7, -0.58), (0, -0.78), (-0.7, -0.58), (-0.92, -0.16)],
        "long": [(0.88, 0.5), (0.86, -0.14), (0.5, -0.6), (0, -0.86), (-0.5, -0.6), (-0.86, -0.14), (-0.88, 0.5)],
    }
    if style == "long":
        crown = [(-1.1, 0.6), *crown[1:-1], (1.1, 0.6)]
    pen.shape([*crown, *fringes[style]], colour)
    pen.arc(0, -0.3, 0.78, 0.78, 225, 265, shine, 0.08)


def _hair_behind(pen: Pen, colour: Colour, style: str) -> None:
    if style == "long":
        fall: list[Point] = [(0, -1.2), (0.95, -0.9), (1.22, 0), (1.3, 1.0), (1.22, 1.75), (0.6, 1.95), (0, 1.8)]
        pen.shape(both_sides(fall), mix(colour, INK, 0.1))
    elif style == "curly":
        for turn in range(13):
            a = math.radians(146 + turn * 20.6)
            pen.oval(1.06 * math.cos(a), 1.04 * math.sin(a), 0.4, 0.38, colour, edge=True)
    elif style == "bun":
        pen.oval(0, -1.4, 0.48, 0.44, colour, edge=True)
        pen.arc(0, -1.4, 0.26, 0.22, 190, 280, mix(colour, WHITE, 0.3), 0.07)
    elif style == "ponytail":
        tail: list[Point] = [(0.7, -0.8), (1.35, -1.0), (1.85, -0.4), (1.75, 0.6), (1.4, 1.2), (1.45, 0.4), (1.2, -0.2)]
        pen.shape(tail, mix(colour, INK, 0.1))
        pen.oval(0.98, -0.72, 0.16, 0.2, (238, 92, 120), edge=True)


def draw_hat(pen: Pen, kind: str) -> None:
    """A red cap, a blue beanie, a black top hat or a golden crown."""
    dome: list[Point] = [
        (-1.12, -0.46),
        (-1.0, -1.0),
        (-0.5, -1.38),
        (0, -1.46),
        (0.5, -1.38),
        (1.0, -1.0),
        (1.12, -0.46),
    ]
    if kind == "cap":
        pen.shape([*dome, (0, -0.6)], (224, 66, 74))
        pen.shape([(-0.5, -0.62), (0.4, -0.74), (1.3, -0.6), (1.72, -0.36), (1.1, -0.4), (0, -0.46)], (184, 46, 60))
        pen.oval(0, -1.46, 0.11, 0.08, (184, 46, 60), edge=True)
    elif kind == "beanie":
        pen.shape([(x, y * 1.08) for x, y in dome], (74, 138, 196))
        pen.box(-1.18, -0.74, 1.18, -0.38, (240, 242, 246), 0.16, edge=True)
        pen.oval(0, -1.62, 0.25, 0.25, (240, 242, 246), edge=True)
    elif kind == "top hat":
        pen.shape([(-0.66, -0.6), (-0.76, -1.85), (0.76, -1.85), (0.66, -0.6)], (58, 52, 68), curved=False)
        pen.shape([(-0.68, -0.66), (-0.7, -0.94), (0.7, -0.94), (0.68, -0.66)], (214, 70, 80), edge=False, curved=False)
        pen.box(-1.2, -0.72, 1.2, -0.5, (58, 52, 68), 0.11, edge=True)
    elif kind == "crown":
        points: list[Point] = [(-0.82, -0.55)]
        points += [((i - 3) * 0.31, -1.5 if i % 2 == 0 else -0.98) for i in range(7)]
        pen.shape([*points, (0.82, -0.55)], (252, 206, 72), curved=False)
        for i, colour in enumerate(((222, 66, 90), (74, 142, 220), (222, 66, 90))):
            pen.oval((i - 1) * 0.48, -0.74, 0.1, 0.1, colour)
