"""The X/Y grid of the Create page: the same wish in every cell, but for one or two settings that differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limner.errors import ConsentNeeded, InputRefused, LimnerError
from limner.money.consent import check_consent
from limner.options import GenerateOptions
from limner.studio import Studio
from limner.types import Estimate
from limner.web.rendering.templates import plural

__all__ = ["AXES", "GridForm", "GridView", "grid_view", "read_grid", "start_grid"]

AXES = ("scale", "steps", "seed", "guidance", "checkpoint", "lora")
"""The settings that may differ here; prompts have commas in them."""
MOST_VALUES = 10
LONGEST = 400


@dataclass(slots=True)
class GridForm:
    """What the grid's fields hold, as text. ``seen`` is the price that was shown, ``yes`` the one agreed to."""

    x: str = "scale"
    x_values: str = ""
    y: str = ""
    y_values: str = ""
    seen: str = ""
    yes: str = ""
    open: bool = False

    def axis(self, side: str) -> tuple[str, list[str]] | None:
        """One side's setting and values; None where nothing differs. InputRefused."""
        name, text = (self.x, self.x_values) if side == "x" else (self.y, self.y_values)
        if not name:
            return None
        if name not in AXES:
            raise InputRefused(f"'{name[:40]}' is no setting of a grid.", remedy=f"Choose one of {', '.join(AXES)}.")
        words = [part.strip() for part in text.split(",") if part.strip()]
        if not 2 <= len(words) <= MOST_VALUES:
            raise InputRefused(
                f"{name.capitalize()} has {plural(len(words), 'value')}.",
                remedy=f"Write 2 to {MOST_VALUES} values, with commas between them.",
            )
        return name, words

    @property
    def begun(self) -> bool:
        """Whether there is anything to be judged."""
        return bool(self.x_values.strip() or self.y_values.strip())


@dataclass(slots=True)
class GridView:
    """The grid's form with its price, or with what is wrong: with it, or with the wish (``error``).

    ``steps`` are those of the checkpoints that can be compared; ``asks``: the price needs a yes of its own.
    """

    form: GridForm
    steps: tuple[int, ...] = ()
    pictures: int = 0
    estimate: Estimate | None = None
    asks: bool = False
    error: str = ""

    @property
    def axes(self) -> list[tuple[str, str]]:
        """The settings that may differ, with their titles."""
        return [(name, "LoRA" if name == "lora" else name.capitalize()) for name in AXES]

    @property
    def open(self) -> bool:
        return self.form.open or self.form.begun or bool(self.error)

    @property
    def price(self) -> str:
        """The price as the form sends it back, "" while there is none."""
        return "" if self.estimate is None else f"{self.estimate.amount:f}"


def read_grid(sent: Mapping[str, Any]) -> GridForm:
    """The grid's part of what was sent, or of a link."""

    def word(name: str, default: str = "") -> str:
        value = sent.get(name, default)
        return value[:LONGEST] if isinstance(value, str) else default

    return GridForm(
        x=word("x", "scale"),
        x_values=word("x_values"),
        y=word("y"),
        y_values=word("y_values"),
        seen=word("grid_seen"),
        yes=word("grid_yes"),
        open=bool(word("grid")),
    )


def grid_view(studio: Studio, form: GridForm, prompt: str, options: GenerateOptions) -> GridView:
    """Judge a grid of a wish: how many pictures, and what all of them cost. Nobody is asked over the network."""
    view = GridView(form)
    try:
        if "checkpoint" in (form.x, form.y):
            view.steps = tuple(one.step for one in studio.trainings.checkpoints(_training(studio, options)))
        if form.begun:
            view.pictures, view.estimate = studio.grids.price(prompt, **_grid(studio, form, options))
            view.asks = _asks(studio, view.estimate)
    except LimnerError as refused:
        view.error = str(refused)
    return view


def start_grid(studio: Studio, view: GridView, prompt: str, options: GenerateOptions, wish: str) -> str:
    """Draw the grid, once for a wish; its id.

    ConsentNeeded: it costs, and this price was not on the button yet or, where it is much, no yes was said to it.
    InputRefused, NotFound, SpendingRefused: it cannot be drawn.
    """
    asked = _grid(studio, view.form, options)
    _, estimate = studio.grids.price(prompt, **asked)
    agreed = view.form.yes == f"{estimate.amount:f}"
    check_consent(estimate, studio.settings.consent_above, agreed, what="The grid")
    if estimate.amount and not agreed and view.form.seen != f"{estimate.amount:f}":
        raise ConsentNeeded(
            "The price is below now.", remedy="Draw the grid if you agree to it.", thing="consent_above"
        )
    return studio.grids.start(prompt, yes=agreed, wish=wish, **asked).id


def _grid(studio: Studio, form: GridForm, options: GenerateOptions) -> dict[str, Any]:
    x, y = form.axis("x"), form.axis("y")
    if x is None:
        raise InputRefused("A grid needs a setting that differs across.", remedy="Choose one.")
    training = _training(studio, options) if "checkpoint" in (form.x, form.y) else ""
    return {**options, "count": 1, "x": x, "y": y, "training": training}


def _training(studio: Studio, options: GenerateOptions) -> str:
    """The training whose checkpoints stand in for the first lora. InputRefused: there is none."""
    name = next(iter(options.get("loras", ())), "").rpartition(":")[0]
    if not name or "/" in name:
        raise InputRefused("Checkpoints of which LoRA?", remedy="Choose one that was trained here.")
    training = studio.loras.get(name).training
    if not training:
        raise InputRefused(f"{name} was not trained here.", remedy="Choose a LoRA that was.", thing=name)
    return training


def _asks(studio: Studio, estimate: Estimate) -> bool:
    try:
        check_consent(estimate, studio.settings.consent_above, yes=False)
    except ConsentNeeded:
        return True
    return False
