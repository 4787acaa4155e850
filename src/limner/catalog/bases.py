"""The bases: reads ``bases.toml`` and finds a base by its id or its Hub repo."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from limner.errors import InputRefused, NotReady
from limner.types import Base

__all__ = ["base_location", "bases", "find_base", "read_bases", "use_folder"]

SHAPE = frozenset({"double_blocks", "single_blocks", "width"})
MAY = frozenset({"latents", "text", "pooled"})
"""What the first layers take: numbers of a place of the picture, of a word, of the whole prompt; unknown if absent."""


def read_bases(text: str) -> dict[str, Base]:
    """Parse a bases file. InputRefused names the row and its missing, unknown, mistyped or contradictory field."""
    try:
        rows: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise InputRefused(f"The catalog of bases is no TOML: {failure}.", remedy="Correct that line.") from failure
    fields = Base.__dataclass_fields__
    found: dict[str, Base] = {}
    for key, row in rows.items():
        if not isinstance(row, dict):
            raise _wrong(key, "it is not a table")
        unknown = set(row) - set(fields)
        missing = set(fields) - set(row) - {"id", "notes"}
        if unknown or missing:
            raise _wrong(key, f"it has the unknown fields {sorted(unknown)} and lacks {sorted(missing)}")
        found[key] = _checked(key, row)
    return found


def _checked(key: str, row: Mapping[str, Any]) -> Base:
    from pydantic import TypeAdapter, ValidationError

    try:
        # Through JSON, because there strict types still let a list be a tuple and a text an enum.
        plain = json.dumps({**row, "id": key}, default=str)
        base: Base = TypeAdapter(Base).validate_json(plain, strict=True)
    except ValidationError as failure:
        first = failure.errors()[0]
        raise _wrong(key, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    if not SHAPE <= set(base.shape) <= SHAPE | MAY:
        wanted, more = ", ".join(sorted(SHAPE)), ", ".join(sorted(MAY))
        raise _wrong(key, f"shape must have {wanted}, may have {more}, and nothing else")
    if min(base.shape.values()) < 1 or base.size_multiple < 1:
        raise _wrong(key, "shape and size_multiple must be at least 1")
    if not base.size_min <= base.size <= base.size_max:
        raise _wrong(key, f"size {base.size} is not within {base.size_min} to {base.size_max}")
    sizes = (base.size, base.size_min, base.size_max, *base.resolutions)
    if not base.resolutions or any(size % base.size_multiple for size in sizes):
        raise _wrong(key, f"sizes and resolutions must be multiples of {base.size_multiple}, at least one resolution")
    return base


def _wrong(key: str, what: str) -> InputRefused:
    return InputRefused(
        f"Base '{key}' in the catalog is wrong: {what}.",
        remedy="Compare it with a row of limner/catalog/bases.toml.",
        thing=key,
    )


_own: list[Path] = []


def use_folder(folder: Path) -> None:
    """Lay the rows of a folder's ``bases.toml`` over ours, for this process."""
    if folder not in _own:
        _own.append(folder)
        bases.cache_clear()


@cache
def bases() -> Mapping[str, Base]:
    """All bases by id, in the catalog's order, the user's rows over ours."""
    rows = read_bases(files("limner.catalog").joinpath("bases.toml").read_text(encoding="utf-8"))
    for folder in _own:
        path = folder / "bases.toml"
        if path.is_file():
            rows |= read_bases(path.read_text(encoding="utf-8"))
    return rows


def find_base(name: str) -> Base:
    """Find a base by its id or its Hub repo; InputRefused names the known ones."""
    for base in bases().values():
        if name in (base.id, base.repo):
            return base
    raise InputRefused(
        f"There is no base '{name}' in the catalog.", remedy=f"Known bases: {', '.join(bases())}.", thing=name
    )


def base_location(base: Base, overrides: Mapping[str, Path] | None = None) -> str:
    """Where to load a base from: the user's own folder, the folder shipped with Limner, or the Hub repo id.

    NotReady: the user's folder holds no pipeline.
    """
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
