"""The axes of a grid: what may differ from cell to cell, and the wish of each cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from limner.errors import InputRefused
from limner.operations.generations import submission as generations
from limner.operations.trainings import actions as training_actions
from limner.records import GridAxis

__all__ = ["AXES", "MOST_CELLS", "GridRequest", "as_axis", "cells_of"]

MOST_CELLS = 64
"""Generations of one grid: more than can be looked at side by side."""
MOST_PROMPT = 20_000


def _number(least: float, most: float) -> Callable[[Any], float]:
    def read(value: Any) -> float:
        found = float(value)
        if not least <= found <= most:
            raise ValueError(value)
        return found

    return read


def _whole(least: int, most: int) -> Callable[[Any], int]:
    def read(value: Any) -> int:
        if isinstance(value, bool) or float(value) != int(float(value)) or not least <= int(value) <= most:
            raise ValueError(value)
        return int(value)

    return read


def _words(value: Any) -> str:
    found = str(value).strip()
    if not found or len(found) > MOST_PROMPT:
        raise ValueError(value)
    return found


AXES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "scale": (_number(-10, 10), "Numbers from -10 to 10, such as 0.6, 0.8, 1."),
    "steps": (_whole(1, 1000), "Whole numbers from 1 to 1000."),
    "seed": (_whole(0, 2**32 - 1), "Whole numbers from 0 to 4294967295."),
    "guidance": (_number(0, 100), "Numbers from 0 to 100."),
    "checkpoint": (_whole(0, 10**9), "Steps of the training's checkpoints."),
    "lora": (_words, "Names of loras, such as zibbo@v1."),
    "prompt": (_words, "Prompts, each with words in it."),
}
"""What can differ, how its values are read, and what they may be."""


def as_axis(given: tuple[str, Sequence[Any]] | GridAxis | None) -> GridAxis:
    """An axis with its values read, each once. InputRefused: no such axis, no value, or one that cannot be used."""
    if given is None:
        return GridAxis("", (None,))
    name, values = (given.name, given.values) if isinstance(given, GridAxis) else given
    if not name:
        return GridAxis("", (None,))
    if name not in AXES:
        raise InputRefused(f"A grid has no axis '{name}'.", remedy=f"One of {', '.join(AXES)}.", thing=name)
    read, allowed = AXES[name]
    found = []
    for value in values:
        try:
            found.append(read(value))
        except (TypeError, ValueError, OverflowError):
            raise InputRefused(
                f"'{str(value)[:80]}' is no value of the axis '{name}'.", remedy=allowed, thing=name
            ) from None
    if not found:
        raise InputRefused(f"The axis '{name}' has no values.", remedy=allowed, thing=name)
    return GridAxis(name, tuple(dict.fromkeys(found)))


@dataclass(frozen=True, slots=True)
class GridRequest:
    """A grid that is asked for, its axes read; ``options`` are those of ``Studio.generate``."""

    prompts: tuple[str, ...]
    x: GridAxis
    y: GridAxis
    training: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def with_seed(self, seed: int) -> GridRequest:
        """The same with a seed where none is given: cells are compared, so chance must not differ."""
        options = self.options if self.options.get("seed") is not None else {**self.options, "seed": seed}
        return replace(self, options=options)


def cells_of(request: GridRequest) -> list[list[list[Mapping[str, Any]]]]:
    """The options of each cell's request by row, column and prompt. InputRefused: the axes do not go together."""
    named = [axis.name for axis in (request.x, request.y) if axis.name]
    if len(set(named)) < len(named):
        raise InputRefused(f"Both axes are '{named[0]}'.", remedy="Let two different things differ.", thing=named[0])
    if {"checkpoint", "lora"} <= set(named):
        raise InputRefused("A checkpoint is the lora: both cannot differ.", remedy="Choose one of them.", thing="lora")
    if "checkpoint" in named and not request.training:
        raise InputRefused("Checkpoints of which training?", remedy="Name the training.", thing="checkpoint")
    prompts = ("",) if "prompt" in named else request.prompts
    if not prompts or ("prompt" not in named and not all(prompt.strip() for prompt in prompts)):
        raise InputRefused("A grid needs a prompt.", remedy="Write what to draw.", thing="prompt")
    count = len(request.x.values) * len(request.y.values) * len(prompts)
    if count > MOST_CELLS:
        raise InputRefused(
            f"This grid has {count} cells; {MOST_CELLS} is the most.",
            remedy="Take fewer values, or fewer prompts.",
            thing="grid",
        )
    loras = [generations.parse_lora(words) for words in request.options.get("loras", ())]
    if "scale" in named and not loras and not {"checkpoint", "lora"} & set(named):
        raise InputRefused("The scale of which lora?", remedy="Name a lora.", thing="scale")
    return [
        [[_cell(request, prompt, loras, x, y) for prompt in prompts] for x in request.x.values]
        for y in request.y.values
    ]


def _cell(request: GridRequest, prompt: str, loras: Sequence[tuple[str, float]], x: Any, y: Any) -> Mapping[str, Any]:
    varied = dict(_varied(request, x, y))
    first, scale = loras[0] if loras else ("", 1.0)
    if "checkpoint" in varied:
        first = training_actions.name_of(request.training, varied.pop("checkpoint"))
    elif "lora" in varied:
        first, given = generations.parse_lora(varied.pop("lora"))
        scale = scale if given == 1.0 else given
    scale = varied.pop("scale", scale)
    return {
        **request.options,
        "prompt": varied.pop("prompt", prompt),
        "loras": [(first, scale), *loras[1:]] if first else [],
        **varied,
    }


def _varied(request: GridRequest, x: Any, y: Any) -> Iterator[tuple[str, Any]]:
    for axis, value in ((request.x, x), (request.y, y)):
        if axis.name:
            yield axis.name, value
