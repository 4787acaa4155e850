"""docs/guide/python.md against the code: the public names and methods are those that are documented."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from limner import options
from limner.studio import Studio

GUIDE = (Path(__file__).parents[1] / "docs" / "guide" / "python.md").read_text(encoding="utf-8")
MODULES = (
    "limner",
    "limner.studio",
    "limner.settings",
    "limner.records",
    "limner.errors",
    "limner.options",
    "limner.services",
)


def documented(first_cell: str) -> set[str]:
    """The names in the second cell of the table row whose first cell is this one."""
    row = re.search(rf"^\| {re.escape(first_cell)} \| (.+) \|$", GUIDE, re.MULTILINE)
    return set(re.findall(r"`(\w+)`", row[1])) if row else set()


def methods() -> dict[str, object]:
    return {name: member for name, member in vars(Studio).items() if not name.startswith("_") and callable(member)}


@pytest.mark.parametrize("name", MODULES)
def test_the_documented_names_are_the_exported_ones(name: str) -> None:
    module = import_module(name)
    assert documented(f"`{name}`") == set(module.__all__)
    for exported in module.__all__:
        assert getattr(module, exported) is not None


def test_the_documented_methods_are_those_of_the_studio() -> None:
    section = GUIDE.partition("Of the studio itself")[2]
    told = re.findall(r"`(\w+)`", section)
    assert sorted(told) == sorted(methods())


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_is_explained_and_typed(name: str) -> None:
    method = methods()[name]
    assert inspect.getdoc(method)
    signature = inspect.signature(method)  # type: ignore[arg-type]
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in list(signature.parameters.values())[1:]:
        assert parameter.annotation is not inspect.Parameter.empty, parameter.name
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            kind = re.fullmatch(r"Unpack\[(\w+)\]", str(parameter.annotation))
            assert kind, f"{name} takes whatever it is given"
            assert kind[1] in options.__all__


def facets() -> dict[str, type]:
    """What the studio's properties give: small classes, each about one matter."""
    found = {}
    for name, member in vars(Studio).items():
        if isinstance(member, property) and not name.startswith("_") and name != "settings":
            source = inspect.getsource(member.fget)  # type: ignore[arg-type]
            module, kind = re.search(r"from (limner\S+) import (\w+)", source).groups()  # type: ignore[union-attr]
            found[name] = getattr(import_module(module), kind)
    return found


@pytest.mark.parametrize("name", sorted(facets()))
def test_a_facet_is_told_of_with_all_that_it_can(name: str) -> None:
    assert f"`studio.{name}`" in GUIDE
    for method, member in vars(facets()[name]).items():
        if not method.startswith("_"):
            assert re.search(rf"`{method}`|studio\.{name}\.{method}\(", GUIDE), f"studio.{name}.{method} is not told of"
            assert not callable(member) or inspect.getdoc(member), f"studio.{name}.{method} is not explained"


def test_what_is_not_public_is_an_attribute_error() -> None:
    import limner

    with pytest.raises(AttributeError, match="no attribute 'Sudio'"):
        _ = limner.Sudio
