"""The pictures to learn from: drawn characters with captions, and crops of real photos."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image, ImageOps

from captions import caption, nonsense
from characters import draw_character, random_character, random_situation

SIDE = 128
PHOTO_WORDS = {"dog": "dog", "cat": "cat", "teapot": "teapot", "robot_toy": "robot toy", "backpack": "backpack"}
KEPT_BACK = "dog"
"""The transformer never sees this subject's photos, so that the demo's lora has something to learn."""


def drawn(count: int, *, first: int = 0, side: int = SIDE) -> tuple[np.ndarray, list[str]]:
    """``count`` pictures as uint8 [n, side, side, 3] and their captions; picture i depends on its number alone."""
    pictures = np.empty((count, side, side, 3), np.uint8)
    words = []
    for i in range(count):
        chance = Random(first + i)
        who, what = random_character(chance), random_situation(chance)
        pictures[i] = np.asarray(draw_character(who, what, side))
        words.append(caption(who, what, chance))
    return pictures, words


def _photo_caption(word: str, chance: Random) -> str:
    noun = f"{nonsense(chance)} {word}" if chance.random() < 0.25 else word
    article = "" if noun != word and chance.random() < 0.7 else "a "
    return chance.choice(("a photo of ", "a photo of ", "a picture of ", "")) + article + noun


def photo_crops(
    folder: Path,
    count: int,
    *,
    seed: int = 0,
    side: int = SIDE,
    closest: float = 0.45,
    subjects: Iterable[str] = PHOTO_WORDS,
) -> tuple[np.ndarray, list[str]]:
    """Random square crops of the photos in ``folder/SUBJECT/*.jpg``, with captions.

    ``closest`` is the least share of a photo's shorter side that a crop keeps.
    """
    chance = Random(seed)
    photos = []
    for subject in subjects:
        for path in sorted((folder / subject).glob("*.jpg")):
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                upright.thumbnail((640, 640))
                photos.append((upright, PHOTO_WORDS[subject]))
    pictures = np.empty((count, side, side, 3), np.uint8)
    words = []
    for i in range(count):
        photo, word = chance.choice(photos)
        edge = round(min(photo.size) * chance.uniform(closest, 1.0))
        left, top = chance.randint(0, photo.width - edge), chance.randint(0, photo.height - edge)
        crop = photo.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))
        if chance.random() < 0.5:
            crop = ImageOps.mirror(crop)
        pictures[i] = np.asarray(crop)
        words.append(_photo_caption(word, chance))
    return pictures, words
