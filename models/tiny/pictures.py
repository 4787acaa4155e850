"""The pictures to learn from: drawn characters with captions, and crops of real photos."""

from __future__ import annotations

from pathlib import Path
from random import Random

import numpy as np
from captions import caption
from characters import draw_character, random_character, random_situation
from PIL import Image, ImageOps

SIDE = 128
PHOTO_WORDS = {"dog": "dog", "cat": "cat", "teapot": "teapot", "robot_toy": "robot toy", "backpack": "backpack"}


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


def photo_crops(folder: Path, count: int, *, seed: int = 0, side: int = SIDE) -> tuple[np.ndarray, list[str]]:
    """Random upright square crops of the photos in ``folder/SUBJECT/*.jpg``, with plain captions."""
    chance = Random(seed)
    photos = []
    for subject, word in PHOTO_WORDS.items():
        for path in sorted((folder / subject).glob("*.jpg")):
            with Image.open(path) as image:
                upright = ImageOps.exif_transpose(image).convert("RGB")
                upright.thumbnail((640, 640))
                photos.append((upright, word))
    pictures = np.empty((count, side, side, 3), np.uint8)
    words = []
    for i in range(count):
        photo, word = chance.choice(photos)
        edge = round(min(photo.size) * chance.uniform(0.45, 1.0))
        left, top = chance.randint(0, photo.width - edge), chance.randint(0, photo.height - edge)
        crop = photo.resize((side, side), Image.Resampling.LANCZOS, box=(left, top, left + edge, top + edge))
        if chance.random() < 0.5:
            crop = ImageOps.mirror(crop)
        pictures[i] = np.asarray(crop)
        words.append(f"{chance.choice(('a photo of', 'a picture of', ''))} a {word}".strip())
    return pictures, words
