"""docs/guide/cli.md and settings.md against the code: nothing is missing, nothing is told that is not there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from limner import errors
from limner.settings import Settings

from .tree import COMMANDS

GUIDE = Path(__file__).parents[2] / "docs" / "guide"


def paragraphs() -> dict[str, str]:
    """The text under each command's heading."""
    parts = re.split(r"^### `limner ([^`]+)`$", (GUIDE / "cli.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.split("\n## ")[0].strip() for part in parts[2::2]), strict=True))


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_its_paragraph(path: str) -> None:
    assert len(paragraphs().get(path, "")) > 20, f"`limner {path}` is not documented in docs/guide/cli.md"


def test_no_command_is_told_of_that_is_not_there() -> None:
    assert set(paragraphs()) == set(COMMANDS)


@pytest.mark.parametrize("path", COMMANDS)
def test_the_options_that_a_paragraph_names_are_there(path: str) -> None:
    known = {option for parameter in COMMANDS[path].params for option in parameter.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", paragraphs()[path])) <= known


def test_the_settings_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| `LIMNER_(\w+)` \| ([^|]+) \| ([^|]+) \|", (GUIDE / "settings.md").read_text(), re.MULTILINE)
    assert [name.lower() for name, _, _ in rows] == list(Settings.model_fields)
    for name, default, _ in rows:
        field = Settings.model_fields[name.lower()]
        told = default.strip().strip("`")
        if field.default == "":
            assert told == "none"
            continue
        if isinstance(field.default, bool | int | float | str):
            assert (
                told
                == f"{str(field.default).lower() if isinstance(field.default, bool) else field.default}".removesuffix(
                    ".0"
                )
            )


def test_every_exit_code_of_the_error_tree_is_told() -> None:
    text = (GUIDE / "cli.md").read_text(encoding="utf-8")
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LimnerError)]
    assert told == {kind.exit_code for kind in kinds} | {0, 130}
