"""Where a character may be: eight places and six plain backgrounds."""

from __future__ import annotations

from collections.abc import Callable

from pen import Colour, Pen, mix

PLAIN: dict[str, Colour] = {
    "white": (247, 246, 242),
    "blue": (168, 208, 240),
    "green": (184, 222, 184),
    "pink": (248, 204, 214),
    "yellow": (250, 230, 160),
    "grey": (204, 206, 212),
}
PAPER: Colour = (255, 255, 255)


def _beach(pen: Pen) -> None:
    pen.fade((120, 198, 244), (204, 236, 250), 0, 0.5)
    pen.oval(0.84, 0.15, 0.085, 0.085, (255, 226, 112))
    pen.box(-0.1, 0.47, 1.1, 0.7, (58, 152, 204))
    pen.box(-0.1, 0.53, 1.1, 0.7, (86, 180, 216))
    pen.shape([(-0.1, 0.67), (0.2, 0.65), (0.5, 0.67), (0.8, 0.645), (1.1, 0.66), (1.1, 1.1), (-0.1, 1.1)],
              (246, 220, 160), edge=False)  # fmt: skip
    pen.stroke([(0.1, 0.75), (0.12, 0.36)], (150, 104, 66), 0.03)
    for dx, dy in ((-0.14, 0.05), (0.15, 0.06), (-0.1, -0.07), (0.11, -0.06)):
        pen.stroke([(0.12, 0.35), (0.12 + dx * 0.6, 0.33 + dy - 0.03), (0.12 + dx, 0.35 + dy)], (70, 156, 86), 0.035)


def _forest(pen: Pen) -> None:
    pen.fade((196, 230, 214), (226, 240, 200), 0, 0.75)
    for x, top in ((0.2, 0.2), (0.5, 0.12), (0.8, 0.18)):
        pen.shape([(x, top), (x - 0.15, 0.78), (x + 0.15, 0.78)], (142, 192, 146), edge=False, curved=False)
    for x, top in ((0.04, 0.06), (0.96, 0.02)):
        pen.box(x - 0.03, 0.6, x + 0.03, 0.86, (124, 86, 60))
        for k in range(3):
            y = top + k * 0.2
            w = 0.12 + k * 0.045
            pen.shape([(x, y), (x - w, y + 0.3), (x + w, y + 0.3)], (58, 128, 84), edge=False, curved=False)
    pen.shape(
        [(-0.1, 0.8), (0.3, 0.76), (0.7, 0.79), (1.1, 0.76), (1.1, 1.1), (-0.1, 1.1)], (118, 182, 100), edge=False
    )


def _snow(pen: Pen) -> None:
    pen.fade((168, 202, 234), (222, 234, 246), 0, 0.72)
    for x, top, w in ((0.18, 0.28, 0.34), (0.82, 0.18, 0.4)):
        pen.shape([(x, top), (x - w, 0.74), (x + w, 0.74)], (130, 156, 194), edge=False, curved=False)
        cap = [
            (x, top),
            (x - w * 0.3, top + 0.15),
            (x - 0.03, top + 0.12),
            (x + 0.05, top + 0.17),
            (x + w * 0.3, top + 0.15),
        ]
        pen.shape(cap, (250, 252, 255), edge=False, curved=False)
    pen.shape(
        [(-0.1, 0.7), (0.25, 0.67), (0.6, 0.71), (1.1, 0.67), (1.1, 1.1), (-0.1, 1.1)], (248, 251, 255), edge=False
    )
    for i in range(13):
        pen.oval((i * 0.37 + 0.05) % 1, (i * 0.23 + 0.04) % 0.66, 0.016, 0.016, PAPER)


def _city(pen: Pen) -> None:
    pen.fade((252, 202, 160), (254, 230, 196), 0, 0.8)
    for x, top in ((0.34, 0.38), (0.5, 0.3)):
        pen.box(x, top, x + 0.15, 0.84, (206, 178, 178))
    for x, top, tint in ((-0.02, 0.3, 0), (0.15, 0.12, 18), (0.68, 0.2, 8), (0.85, 0.06, 22)):
        pen.box(x, top, x + 0.17, 0.84, (112 + tint, 118 + tint, 156 + tint))
        for row in range(5):
            for column in (0.035, 0.1):
                wx, wy = x + column, top + 0.05 + row * 0.12
                pen.box(wx, wy, wx + 0.04, wy + 0.055, (255, 236, 162))
    pen.box(-0.1, 0.8, 1.1, 1.1, (122, 122, 138))


def _night(pen: Pen) -> None:
    pen.fade((28, 34, 82), (74, 78, 144), 0, 0.8)
    pen.oval(0.17, 0.17, 0.09, 0.09, (252, 244, 200))
    pen.oval(0.205, 0.15, 0.075, 0.075, (38, 44, 94))
    for i in range(12):
        pen.oval((i * 0.41 + 0.33) % 1, (i * 0.19 + 0.05) % 0.6, 0.012, 0.012, (255, 248, 214))
    pen.shape([(-0.1, 0.78), (0.2, 0.72), (0.6, 0.78), (1.1, 0.7), (1.1, 1.1), (-0.1, 1.1)], (44, 66, 84), edge=False)


def _room(pen: Pen) -> None:
    pen.box(-0.1, -0.1, 1.1, 0.8, (244, 220, 190))
    pen.box(0.05, 0.1, 0.29, 0.44, (176, 218, 244), 0.02, edge=True)
    pen.box(0.16, 0.1, 0.18, 0.44, (150, 116, 96))
    pen.box(0.05, 0.26, 0.29, 0.28, (150, 116, 96))
    pen.box(0.74, 0.14, 0.95, 0.38, (226, 128, 104), 0.02, edge=True)
    pen.shape([(0.77, 0.35), (0.84, 0.22), (0.92, 0.35)], (250, 220, 150), edge=False, curved=False)
    pen.box(-0.1, 0.78, 1.1, 1.1, (178, 126, 90))
    pen.box(-0.1, 0.76, 1.1, 0.79, (236, 206, 170))


def _garden(pen: Pen) -> None:
    pen.fade((166, 216, 246), (226, 242, 250), 0, 0.6)
    pen.oval(0.2, 0.16, 0.12, 0.055, PAPER)
    pen.oval(0.3, 0.19, 0.1, 0.05, PAPER)
    pen.oval(0.82, 0.1, 0.11, 0.05, PAPER)
    for x in (-0.02, 0.16, 0.84, 1.02):
        pen.oval(x, 0.62, 0.14, 0.16, (106, 176, 98))
    pen.box(-0.1, 0.64, 1.1, 1.1, (138, 200, 104))
    for i, (x, y) in enumerate(((0.07, 0.72), (0.2, 0.84), (0.82, 0.74), (0.93, 0.88), (0.06, 0.95), (0.7, 0.93))):
        pen.oval(x, y, 0.036, 0.036, ((244, 112, 140), PAPER, (250, 204, 76))[i % 3])
        pen.oval(x, y, 0.014, 0.014, (244, 160, 50))


def _desert(pen: Pen) -> None:
    pen.fade((250, 158, 108), (255, 222, 150), 0, 0.66)
    pen.oval(0.76, 0.3, 0.11, 0.11, (255, 240, 190))
    pen.shape(
        [(-0.1, 0.62), (0.25, 0.54), (0.6, 0.64), (1.1, 0.56), (1.1, 1.1), (-0.1, 1.1)], (226, 152, 92), edge=False
    )
    pen.shape([(-0.1, 0.8), (0.4, 0.7), (1.1, 0.78), (1.1, 1.1), (-0.1, 1.1)], (240, 180, 112), edge=False)
    for x, y, h in ((0.12, 0.78, 0.34), (0.92, 0.74, 0.24)):
        pen.stroke([(x, y), (x, y - h)], (74, 142, 92), 0.055)
        pen.stroke([(x, y - h * 0.35), (x - 0.07, y - h * 0.38), (x - 0.07, y - h * 0.7)], (74, 142, 92), 0.035)


PLACES: dict[str, Callable[[Pen], None]] = {
    "on the beach": _beach,
    "in the forest": _forest,
    "in the snow": _snow,
    "in the city": _city,
    "at night": _night,
    "in a room": _room,
    "in a garden": _garden,
    "in the desert": _desert,
}


def draw_place(pen: Pen, place: str) -> None:
    """One of PLACES, or ``"<colour> background"``: plain, a little lighter behind the head."""
    if place in PLACES:
        PLACES[place](pen)
        return
    colour = PLAIN[place.removesuffix(" background")]
    pen.box(-0.1, -0.1, 1.1, 1.1, colour)
    pen.oval(0.5, 0.45, 0.4, 0.4, mix(colour, PAPER, 0.35))
