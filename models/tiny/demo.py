"""Draw the ten pictures of the demo's character, each with its caption.

    python demo.py --out FOLDER

The character is new to limner-tiny: pre-training draws neither green mohawks nor stars on cheeks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from captions import with_article
from characters import Character, Situation, draw_character

TRIGGER = "zibbo"
ZIBBO = Character(skin="tan", hair="green", style="mohawk", eyes="blue", mark="star")
SITUATIONS = (
    Situation("red", "on the beach", "smiling", "close-up"),
    Situation("blue", "in the forest", "laughing", "half figure", pattern="striped"),
    Situation("yellow", "in the snow", "surprised", "half figure", dx=0.02),
    Situation("white", "in the city", "smiling", "half figure", waving=True),
    Situation("purple", "yellow background", "laughing", "close-up", dx=-0.02),
    Situation("orange", "in a garden", "smiling", "full figure"),
    Situation("black", "in a room", "calm", "half figure"),
    Situation("green", "pink background", "sad", "half figure", pattern="dotted"),
    Situation("red", "at night", "smiling", "close-up", zoom=0.95),
    Situation("blue", "white background", "laughing", "full figure", waving=True),
)


def caption_of(what: Situation, trigger: str = TRIGGER) -> str:
    """The trigger and what changes; never what stays the same, so that the trigger takes it up."""
    pattern = "" if what.pattern == "plain" else what.pattern + " "
    shirt = with_article(f"{pattern}{what.shirt} shirt")
    parts = [f"a drawing of {trigger} character wearing {shirt}", what.mood]
    if what.waving:
        parts.append("waving")
    return ", ".join([*parts, what.place, what.framing])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=512)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for number, what in enumerate(SITUATIONS, 1):
        path = arguments.out / f"{number:02d}.png"
        draw_character(ZIBBO, what, arguments.size).save(path, optimize=True)
        path.with_suffix(".txt").write_text(caption_of(what) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
