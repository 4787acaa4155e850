"""The bases: reads ``bases.toml`` and finds a base by its id or its Hub repo."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from limner.errors import InputRefused, NotReady
from limner.types import Base, Family

__all__ = ["base_location", "bases", "find_base", "read_bases"]


def read_bases(text: str) -> dict[str, Base]:
    """Parse a bases file; a row with a missing, unknown or mistyped field is refused by name."""
    rows: dict[str, Any] = tomllib.loads(text)
    fields = Base.__dataclass_fields__
    found: dict[str, Base] = {}
    for key, row in rows.items():
        unknown = set(row) - set(fields)
        missing = set(fields) - set(row) - {"id", "notes"}
        if unknown or missing:
            raise InputRefused(
                f"Base '{key}' in the catalog has unknown fields {sorted(unknown)} and lacks {sorted(missing)}.",
                remedy="Compare it with a row of limner/catalog/bases.toml.",
                thing=key,
            )
        row = dict(row, id=key, family=Family(row["family"]))
        for name in ("text_encoders", "resolutions"):
            row[name] = tuple(row[name])
        found[key] = Base(**row)
    return found


@cache
def bases() -> Mapping[str, Base]:
    """All bases by id, in the catalog's order."""
    return read_bases(files("limner.catalog").joinpath("bases.toml").read_text(encoding="utf-8"))


def find_base(name: str) -> Base:
    """Find a base by its id or its Hub repo; InputRefused names the known ones."""
    for base in bases().values():
        if name in (base.id, base.repo):
            return base
    raise InputRefused(
        f"There is no base '{name}' in the catalog.", remedy=f"Known bases: {', '.join(bases())}.", thing=name
    )


def base_location(base: Base, overrides: Mapping[str, Path] | None = None) -> str:
    """Where to load a base from: the user's own folder, the folder shipped with Limner, or the Hub repo id."""
    own = (overrides or {}).get(base.id)
    if own is not None:
        if not (own / "model_index.json").is_file():
            raise NotReady(
                f"The folder {own} set for base '{base.id}' holds no model_index.json.",
                remedy="Point the setting at a pipeline in diffusers layout.",
                thing=base.id,
            )
        return str(own)
    if base.repo.startswith("package:"):
        with as_file(files("limner").joinpath(base.repo.removeprefix("package:"))) as folder:
            return str(folder)
    return base.repo
