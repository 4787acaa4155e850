"""The stand-ins' rows of the catalog: what the vendors seem to offer for small bases, made from real models' rows.

Each row is a real model's row with another name and base, so that fields, choices and prices are the real ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any

from limner.atomic_file import write_atomically
from limner.catalog.bases import find_base
from limner.catalog.hosted import HostedModel, find_hosted
from limner.stand_ins.random_flux2 import FLUX2_RANDOM
from limner.types import Base

__all__ = ["MODELS", "StandInModel", "stand_in_rows", "write_catalog"]


@dataclass(frozen=True, slots=True)
class StandInModel:
    """A model that a stand-in offers, and the real one whose row it takes over."""

    vendor: str
    does: str
    model: str
    base: str
    like: str


MODELS: Sequence[StandInModel] = (
    StandInModel("replicate", "train", "limner/limner-tiny-trainer", "limner-tiny", "ostris/flux-dev-lora-trainer"),
    StandInModel("replicate", "generate", "limner/limner-tiny", "limner-tiny", "black-forest-labs/flux-dev-lora"),
    StandInModel("replicate", "generate", "trained/limner-tiny", "limner-tiny", "trained/flux1-dev"),
    StandInModel("fal", "train", "limner/limner-tiny-trainer", "limner-tiny", "fal-ai/flux-lora-fast-training"),
    StandInModel("fal", "train", "limner/flux2-random-trainer", FLUX2_RANDOM.id, "fal-ai/flux-2-trainer"),
    StandInModel("fal", "generate", "limner/limner-tiny", "limner-tiny", "fal-ai/flux-lora"),
    StandInModel("fal", "generate", "limner/flux2-random", FLUX2_RANDOM.id, "fal-ai/flux-2/lora"),
    StandInModel("together", "generate", "limner/limner-tiny", "limner-tiny", "black-forest-labs/FLUX.2-dev"),
    StandInModel("together", "generate", "limner/flux2-random", FLUX2_RANDOM.id, "black-forest-labs/FLUX.2-dev"),
    StandInModel("huggingface", "generate", "limner/limner-tiny", "limner-tiny", "fal-ai/flux-lora"),
)


def stand_in_rows() -> dict[str, HostedModel]:
    """The rows of the stand-ins' models by id."""
    rows = {}
    for offered in MODELS:
        base = FLUX2_RANDOM if offered.base == FLUX2_RANDOM.id else find_base(offered.base)
        real = _real_row(offered)
        if real is None:
            continue
        row = replace(
            real,
            id=f"stand-in-{offered.vendor}-{offered.model.removeprefix('limner/').replace('/', '-')}",
            model=offered.model,
            base=offered.base,
            version="",
            steps=real.steps if offered.does == "train" else base.steps,
            guidance=None if offered.does == "train" else base.guidance,
            sizes=(base.size_min, base.size_max, base.size_multiple),
            # the real model's names stand for sizes that a small base does not draw
            size_names={},
            fields={**real.fields, "width": "width", "height": "height"} if real.size_names else real.fields,
            seconds=30.0 if offered.does == "train" else 2.0,
            withdrawn="",
            notes=f"A stand-in's model on this machine, with the fields and the price of {real.model}.",
        )
        rows[row.id] = row
    return rows


def _real_row(offered: StandInModel) -> HostedModel | None:
    """The row of the real model, or of another of the vendor's that does the same, if it offers any."""
    named = find_hosted(offered.vendor, offered.does, model=offered.like)
    return next(iter((*named, *find_hosted(offered.vendor, offered.does))), None)


def write_catalog(folder: Path) -> Path:
    """Write ``bases.toml`` and ``hosted.toml`` of the stand-ins into a folder; gives it, for ``settings.catalog``."""
    folder.mkdir(parents=True, exist_ok=True)
    hosted = "\n".join(_table(row.id, row) for row in stand_in_rows().values())
    write_atomically(folder / "bases.toml", _table(FLUX2_RANDOM.id, FLUX2_RANDOM).encode())
    write_atomically(folder / "hosted.toml", hosted.encode())
    return folder


def _table(name: str, row: HostedModel | Base) -> str:
    """A row as a TOML table, without what is unknown and without its id, which is the table's name."""
    values = asdict(row)
    lines = [f"{one.name} = {_toml(values[one.name])}" for one in fields(row) if one.name != "id"]
    known = [line for line in lines if not line.endswith("= ")]
    return f"[{json.dumps(name)}]\n" + "\n".join(known) + "\n"


def _toml(value: Any) -> str:
    """A value in TOML; "" for None, which TOML has not."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(str(key))} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, str | Decimal | StrEnum):
        return json.dumps(str(value), ensure_ascii=False)
    return "[" + ", ".join(_toml(one) for one in value) + "]"
