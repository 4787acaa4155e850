"""Prompts to begin with: reads ``prompts.toml``, a few scenes for each kind of subject."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from limner.errors import InputRefused
from limner.types import PromptTemplate, SubjectKind

__all__ = ["prompt_templates", "read_prompts"]


def read_prompts(text: str) -> list[PromptTemplate]:
    """Parse a prompts file. InputRefused names the row and what is wrong with it."""
    try:
        rows: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as failure:
        raise InputRefused(f"The catalog of prompts is no TOML: {failure}.", remedy="Correct that line.") from failure
    return [_checked(key, row) for key, row in rows.items()]


def _checked(key: str, row: Any) -> PromptTemplate:
    if not isinstance(row, dict) or set(row) != {"title", "prompt", "kinds"}:
        raise _wrong(key, "it must have title, prompt and kinds, and nothing else")
    known = {kind.value for kind in SubjectKind}
    if not isinstance(row["kinds"], list) or not row["kinds"] or set(row["kinds"]) - known:
        raise _wrong(key, f"kinds must name some of {', '.join(sorted(known))}")
    if "{trigger}" not in row["prompt"]:
        raise _wrong(key, "its prompt lacks {trigger}")
    return PromptTemplate(key, row["title"], row["prompt"], tuple(row["kinds"]))


def _wrong(key: str, what: str) -> InputRefused:
    return InputRefused(
        f"Prompt '{key}' in the catalog is wrong: {what}.",
        remedy="Compare it with a row of limner/catalog/prompts.toml.",
        thing=key,
    )


@cache
def _all() -> tuple[PromptTemplate, ...]:
    return tuple(read_prompts(files("limner.catalog").joinpath("prompts.toml").read_text(encoding="utf-8")))


def prompt_templates(kind: str = "") -> list[PromptTemplate]:
    """The templates for a kind of subject, or all of them."""
    return [template for template in _all() if not kind or kind in template.kinds]
