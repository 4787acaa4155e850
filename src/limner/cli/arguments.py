"""Arguments that several commands take, with what a shell completes them to."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from limner.cli.output import short, studio
from limner.types import SubjectKind

if TYPE_CHECKING:
    from limner.studio import Studio

__all__ = [
    "AllowFew",
    "BaseName",
    "ClassWord",
    "DatasetName",
    "Detach",
    "Extra",
    "GeneratorName",
    "Guidance",
    "HubName",
    "JobName",
    "Json",
    "Kind",
    "LoraName",
    "OfSubject",
    "OnlySlug",
    "Photo",
    "PresetName",
    "Public",
    "RecipeFields",
    "Resolution",
    "SheetFile",
    "Slug",
    "Steps",
    "Sure",
    "Template",
    "TrainerName",
    "TrainingName",
    "WhatIf",
    "Yes",
]

PRESETS = ("quick", "balanced", "thorough")


def _completing(names: Callable[[Studio], Iterable[str]]) -> Callable[[str], list[str]]:
    """A completion that asks the studio; whatever goes wrong, the shell is told of no names."""

    def complete(incomplete: str) -> list[str]:
        try:
            with studio() as it:
                return [name for name in names(it) if name.startswith(incomplete)]
        except Exception:
            return []

    return complete


_slugs = _completing(lambda it: [subject.slug for subject in it.subjects.all()])
_loras = _completing(lambda it: [lora.name for lora in it.loras.all()])
_datasets = _completing(lambda it: [short(dataset.digest) for dataset in it.datasets.all()])
_trainings = _completing(lambda it: [short(training.id) for training in it.trainings.all()])
_jobs = _completing(lambda it: [short(job.id) for job in it.jobs.all()])
_bases = _completing(lambda it: [base.id for base in it.maintenance.bases()])

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
Detach = Annotated[bool, typer.Option("--detach", help="Start the work and return at once.")]
AllowFew = Annotated[bool, typer.Option("--allow-few", help="Accept fewer than four photos.")]
Slug = Annotated[str, typer.Argument(metavar="SLUG", help="The subject's slug.", autocompletion=_slugs)]
OnlySlug = Annotated[str, typer.Argument(metavar="[SLUG]", help="Only this subject's.", autocompletion=_slugs)]
LoraName = Annotated[
    str,
    typer.Argument(
        metavar="LORA", help="A slug (its newest), slug@v2, or digits of its digest.", autocompletion=_loras
    ),
]
DatasetName = Annotated[
    str,
    typer.Argument(metavar="DATASET", help="Digits of its digest, or a slug (its newest).", autocompletion=_datasets),
]
TrainingName = Annotated[
    str, typer.Argument(metavar="TRAINING", help="Its id, or the first digits of it.", autocompletion=_trainings)
]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Its id, or the first digits of it.", autocompletion=_jobs)]
BaseName = Annotated[str, typer.Option(metavar="BASE", help="The base, see `limner bases`.", autocompletion=_bases)]
TrainerName = Annotated[str, typer.Option(metavar="NAME", help="Who trains, see `limner backends`.")]
HubName = Annotated[str, typer.Option(metavar="NAME", help="Where to publish, see `limner backends`.")]
GeneratorName = Annotated[
    str,
    typer.Option(metavar="NAMES", help="Who draws, or several in order: together,fal,local. See `limner backends`."),
]
Sure = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Agree to the cost without being asked.")]
WhatIf = Annotated[bool, typer.Option("--what-if", help="Print the requests, price and time; send nothing that costs.")]
Public = Annotated[bool, typer.Option("--public", help="Anyone may see and use the lora; private if left out.")]
Extra = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the vendor's own interface. Repeat it."),
]
PresetName = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="quick, balanced (if left out) or thorough.",
        autocompletion=lambda incomplete: [name for name in PRESETS if name.startswith(incomplete)],
    ),
]
RecipeFields = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Change a recipe field, such as rank=8. Repeat it."),
]
Photo = Annotated[str, typer.Argument(metavar="PHOTO", help="Six or more digits of its digest.")]
Resolution = Annotated[
    int | None, typer.Option(metavar="PX", help="The buckets' resolution; the base's own if left out.")
]
Kind = Annotated[SubjectKind, typer.Option(metavar="KIND", help="person, pet, product, character or style.")]
ClassWord = Annotated[str, typer.Option(metavar="WORD", help="The plain word for it: person, dog, teapot.")]
OfSubject = Annotated[str, typer.Option(metavar="SLUG", help="Only this subject's.")]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Denoising steps.")]
Guidance = Annotated[float | None, typer.Option(metavar="X", help="Guidance scale.")]
Template = Annotated[str, typer.Option(metavar="TEXT", help="Caption of photos that have none.")]
SheetFile = Annotated[Path | None, typer.Option(metavar="FILE", help="Draw the crops into this PNG.")]
