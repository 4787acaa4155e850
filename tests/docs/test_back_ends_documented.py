"""Every back end of ours has its page, and every page its back end; every core dependency has its decision."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points

import pytest

from limner.plugins import GROUPS

from .markdown import DOCS, ROOT

OURS = sorted(
    (point.name, group.removeprefix("limner.").removesuffix("s"))
    for group in GROUPS
    for point in entry_points(group=group)
    if point.dist is not None and point.dist.name == "limner"
)


@pytest.mark.parametrize(("name", "kind"), OURS)
def test_a_back_end_has_its_page(name: str, kind: str) -> None:
    page = DOCS / "backends" / f"{name}-{kind}.md"
    assert page.is_file(), f"docs/backends/{page.name} is missing"
    text = page.read_text(encoding="utf-8")
    assert text.startswith("# ")
    assert f"`{name}`" in text or f"={name}" in text


def test_no_page_tells_of_a_back_end_that_is_not_there() -> None:
    pages = {page.stem for page in (DOCS / "backends").glob("*.md")}
    assert pages <= {f"{name}-{kind}" for name, kind in OURS}


def test_every_decision_has_three_parts_and_stands_in_the_list() -> None:
    listed = (DOCS / "decisions" / "README.md").read_text(encoding="utf-8")
    records = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    assert [record.name[:4] for record in records] == [f"{number:04d}" for number in range(1, len(records) + 1)]
    for record in records:
        assert f"({record.name})" in listed
        found = re.findall(r"^- \*\*(\w+):\*\* \S", record.read_text(encoding="utf-8"), re.MULTILINE)
        assert found == ["What", "Why", "Rejected"]


def test_every_core_dependency_stands_in_a_decision() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = "\n".join(record.read_text(encoding="utf-8").lower() for record in (DOCS / "decisions").glob("[0-9]*.md"))
    for needed in [*project["dependencies"], *project["optional-dependencies"]["local"]]:
        name = re.split(r"[<>=!~\[; ]", needed, maxsplit=1)[0].lower()
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", text), f"no decision says why {name} is needed"
