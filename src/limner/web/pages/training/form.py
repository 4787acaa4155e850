"""The form of the Train page: what was sent, as text, and the options of a training made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from limner.errors import LimnerError, RecipeRefused
from limner.money.prices import usd
from limner.options import TrainOptions, parse_setting
from limner.records import Dataset, RecipeField, TrainerChoice, Training, TrainingChoices
from limner.studio import Studio
from limner.types import SubjectKind

__all__ = ["PRESETS", "TrainForm", "TrainView", "form_again", "read_form", "train_view"]

PRESETS = (
    ("quick", "Quick", "A first look, at the least cost."),
    ("balanced", "Balanced", "What suits most subjects."),
    ("thorough", "Thorough", "More steps and detail, at a higher cost."),
)
RECIPE = "r_"
"""How the names of fields begin that belong to the recipe."""
MOST_WORDS = 20_000


@dataclass(slots=True)
class TrainForm:
    """What the fields hold, as text, so that a form that is refused comes back as it was sent.

    ``dataset`` names a frozen one; "": the photos as they are now.
    """

    dataset: str = ""
    base: str = ""
    trainer: str = ""
    preset: str = "balanced"
    recipe: dict[str, str] = field(default_factory=dict)
    extra: str = ""
    prompts: str | None = None
    template: str = ""
    allow_few: bool = False
    yes: str = ""
    shown: str = ""
    wish: str = field(default_factory=lambda: uuid4().hex)

    def settings(self) -> dict[str, Any]:
        """The recipe's settings over the preset's: those that were filled in, and the trainer's own."""
        found = {name: parse_setting(name, words) for name, words in self.recipe.items() if words.strip()}
        for line in self.extra.splitlines():
            name, _, value = line.partition("=")
            if name.strip():
                found[f"trainer.{name.strip().removeprefix('trainer.')}"] = parse_setting("", value)
        return found

    def options(self) -> TrainOptions:
        """The options of ``Studio.train``."""
        return {
            "dataset": self.dataset,
            "base": self.base,
            "trainer": self.trainer,
            "preset": self.preset,
            "settings": self.settings(),
            "sample_prompts": [line.strip() for line in (self.prompts or "").splitlines() if line.strip()],
            "template": self.template,
            "allow_few": self.allow_few,
        }


@dataclass(frozen=True, slots=True)
class TrainView:
    """The form with what there is to choose, and what is wrong with it. ``asked`` is the sum that needs a yes.

    ``dataset`` is None where the photos are frozen as they are now.
    """

    form: TrainForm
    choices: TrainingChoices
    errors: Mapping[str, str]
    refusal: LimnerError | None = None
    dataset: Dataset | None = None

    @property
    def chosen(self) -> TrainerChoice | None:
        return self.choices.chosen

    @property
    def asked(self) -> str:
        """The sum that the user has to agree to, "" for none."""
        chosen = self.chosen
        return str(chosen.cost) if chosen is not None and chosen.asks else ""

    @property
    def agreed(self) -> bool:
        """Whether the user said yes to just this sum."""
        return bool(self.asked) and self.form.yes == self.asked

    @property
    def ready(self) -> bool:
        """Whether nothing is known that stands in the way."""
        stopped = any(one.severity.value == "refusal" for one in self.choices.findings)
        return self.chosen is not None and self.chosen.usable and not stopped and not self.errors

    @property
    def label(self) -> str:
        """The button's words, with the price on it."""
        chosen = self.chosen
        if chosen is None:
            return "Train"
        if chosen.cost:
            return f"Train for {'about' if chosen.certain else 'perhaps'} {usd(chosen.cost)}"
        if not chosen.certain:
            return f"Train at {chosen.title}, price not known"
        return f"Train on {chosen.title[0].lower()}{chosen.title[1:]}{_about(chosen.seconds)}"

    @property
    def groups(self) -> dict[str, list[RecipeField]]:
        """The recipe's fields by what they are about, in their order."""
        found: dict[str, list[RecipeField]] = {}
        for one in self.choices.fields:
            found.setdefault(one.group, []).append(one)
        return found

    @property
    def shown(self) -> str:
        """What the recipe's fields depend on: they are sent again only when it is another."""
        return f"{self.choices.base.id} {self.choices.preset}"


def _about(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 90:
        return f", about {max(1, round(seconds / 5) * 5)} s"
    return f", about {round(seconds / 60)} min" if seconds < 5400 else f", about {seconds / 3600:.1f} h"


def read_form(sent: Mapping[str, Any]) -> TrainForm:
    """The form from what was sent, or from a link."""

    def word(name: str) -> str:
        value = sent.get(name, "")
        return value[:MOST_WORDS].replace("\r\n", "\n") if isinstance(value, str) else ""

    form = TrainForm(
        dataset=word("dataset"),
        base=word("base"),
        trainer=word("trainer"),
        preset=word("preset") or "balanced",
        recipe={name.removeprefix(RECIPE): word(name) for name in sent if name.startswith(RECIPE) and word(name)},
        extra=word("extra"),
        prompts=word("prompts") if "prompts" in sent else None,
        template=word("template"),
        allow_few=bool(word("allow_few")),
        yes=word("yes"),
        shown=word("shown"),
    )
    if word("wish"):
        form.wish = word("wish")
    return form


def form_again(training: Training) -> TrainForm:
    """The form that asks for the same run once more: on its dataset, with every setting of its recipe."""
    recipe = dict(training.recipe)
    layers, own = recipe.pop("layer_ranks", ()), recipe.pop("extra", {})
    settings = {name: str(value) for name, value in recipe.items() if name != "base"}
    return TrainForm(
        dataset=training.dataset,
        base=training.base,
        trainer=training.trainer,
        recipe={**settings, "layer_ranks": "\n".join(" ".join(map(str, row)) for row in layers)},
        extra="\n".join(f"{name} = {value}" for name, value in own.items()),
        prompts="\n".join(training.sample_prompts),
    )


def train_view(studio: Studio, slug: str, form: TrainForm, refusal: LimnerError | None = None) -> TrainView:
    """The form with its choices. NotFound: no such subject, base or dataset. Conflict: the dataset is another's."""
    choices = studio.trainings.offers(slug, **form.options())
    if form.prompts is None:
        form.prompts = "\n".join(_prompts(choices))
    errors = dict(choices.problems or {})
    if isinstance(refusal, RecipeRefused):
        errors |= refusal.fields
    if form.trainer and all(one.trainer != form.trainer for one in choices.choices):
        errors["trainer"] = "There is no such trainer. Choose one of these."
    return TrainView(form, choices, errors, refusal, studio.datasets.get(form.dataset) if form.dataset else None)


def _prompts(choices: TrainingChoices) -> list[str]:
    """Sample prompts to begin with, one row of the filmstrip each."""
    subject = choices.subject
    if subject.kind is SubjectKind.STYLE:
        return [f"a lighthouse in the style of {{trigger}} {subject.class_word}", "a cup of tea, {trigger}"]
    return [f"a photo of {{trigger}} {subject.class_word}", f"{{trigger}} {subject.class_word} at the sea"]
