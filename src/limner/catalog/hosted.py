"""The hosted models: which vendor trains or draws with which model of which base, within what limits, at what price."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from limner.errors import InputRefused
from limner.types import Price

__all__ = ["HostedModel", "find_hosted", "hosted", "read_hosted", "use_folder"]


@dataclass(frozen=True, slots=True)
class HostedModel:
    """A model that a vendor runs: one row of ``hosted/<vendor>.toml``, whose ``source`` was read on ``as_of``.

    ``does`` is ``train`` or ``generate``; ``model`` the vendor's own name; ``seconds`` how long a usual run takes (a
    training, or one picture). ``fields`` maps our words (``steps``, ``photos`` ...) to the fields of the model's input,
    ``fixed`` are inputs sent as they are, ``choices`` what else of its input the user may set. ``version`` pins one.
    ``most_loras``, ``scales`` and ``sizes`` (lowest, highest, multiple; pixels) are limits, ``withdrawn`` the day it
    went. ``namings`` are the tensor namings of loras that it is known, or likely, to read; none: not known.
    ``lora_surcharge`` is the share of the price added for each GB of loras, together, above ``free_lora_bytes``.
    ``size_names`` are sizes (width, height) that the model takes by a name only; ``megapixel`` is how many pixels it
    counts as one.
    """

    id: str
    vendor: str
    does: str
    model: str
    base: str
    price: Price
    source: str
    as_of: str
    seconds: float | None = None
    version: str = ""
    steps: int = 0
    most_steps: int = 0
    guidance: float | None = None
    most_loras: int = 0
    scales: tuple[float, float] = (-4.0, 4.0)
    sizes: tuple[int, int, int] = (256, 2048, 16)
    most_lora_bytes: int = 0
    free_lora_bytes: int = 0
    lora_surcharge: Decimal = Decimal(0)
    megapixel: int = 1_000_000
    fields: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    namings: tuple[str, ...] = ()
    size_names: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    withdrawn: str = ""
    notes: str = ""


def read_hosted(text: str) -> dict[str, HostedModel]:
    """Parse a file of hosted models. InputRefused names the row and its missing, unknown or mistyped field."""
    from pydantic import TypeAdapter, ValidationError

    try:
        rows: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise InputRefused(
            f"The catalog of hosted models is no TOML: {failure}.", remedy="Correct that line."
        ) from failure
    found: dict[str, HostedModel] = {}
    adapter = TypeAdapter(HostedModel)
    for key, row in rows.items():
        unknown = set(row) - set(HostedModel.__dataclass_fields__) if isinstance(row, dict) else {"no table"}
        if unknown:
            raise _wrong(key, f"it has the unknown fields {sorted(unknown)}")
        try:
            model = adapter.validate_json(json.dumps({**row, "id": key}, default=str))
        except ValidationError as failure:
            first = failure.errors()[0]
            raise _wrong(key, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
        if model.does not in ("train", "generate"):
            raise _wrong(key, "does must be train or generate")
        found[key] = model
    return found


def _wrong(key: str, what: str) -> InputRefused:
    return InputRefused(
        f"Hosted model '{key}' in the catalog is wrong: {what}.",
        remedy="Compare it with a row of limner/catalog/hosted/.",
        thing=key,
    )


_own: list[Path] = []


@cache
def _shipped() -> Mapping[str, HostedModel]:
    rows: dict[str, HostedModel] = {}
    for file in sorted(files("limner.catalog").joinpath("hosted").iterdir(), key=lambda file: file.name):
        rows |= read_hosted(file.read_text(encoding="utf-8"))
    return rows


def use_folder(folder: Path) -> None:
    """Lay the rows of a folder's ``hosted.toml`` over ours, for this process."""
    if folder not in _own:
        _own.append(folder)


def hosted() -> Mapping[str, HostedModel]:
    """All hosted models by id, the user's rows over ours."""
    rows = dict(_shipped())
    for folder in _own:
        path = folder / "hosted.toml"
        if path.is_file():
            rows |= _parsed(path.read_text(encoding="utf-8"))
    return rows


@lru_cache(maxsize=16)
def _parsed(text: str) -> Mapping[str, HostedModel]:
    """The rows of a user's file: it is asked for often and changes seldom."""
    return read_hosted(text)


def find_hosted(vendor: str, does: str, *, base: str = "", model: str = "") -> list[HostedModel]:
    """The rows of a vendor that train or draw, for a base and model if given, those still offered first."""
    rows = [
        row
        for row in hosted().values()
        if row.vendor == vendor and row.does == does and base in ("", row.base) and model in ("", row.model, row.id)
    ]
    return sorted(rows, key=lambda row: bool(row.withdrawn))
