"""How many fields of the API's classes say what a field of a record says already.

python tools/restated.py [SOURCE]   SOURCE is the folder that holds the package; src if left out
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Restated", "restated"]

SAME = {"Money": "Decimal", "Data": "Mapping[str, Any]", "PlainData": "Mapping[str, Any]"}
SAME |= {"FileName": "str", "SourceName": "str", "TensorNaming": "str"}
RECORDS = ("records/**/*.py", "types.py")


@dataclass(frozen=True, slots=True)
class Restated:
    """The classes of the API's answers with their fields, how many of these a record has too, and the bodies."""

    answers: int
    fields: int
    restated: int
    bodies: int


def restated(package: Path) -> Restated:
    """Count in a package: a field is restated where one record has a field of that name and type."""
    records = [
        fields for pattern in RECORDS for path in package.glob(pattern) for _, _, fields in _classes(path) if fields
    ]
    bodies, answers = 0, []
    kinds: dict[str, bool] = {"Body": True}
    found = [one for path in sorted((package / "web" / "api").rglob("*.py")) for one in _classes(path)]
    for name, above, fields in sorted(found, key=lambda one: "Body" not in one[1]):
        kinds[name] = any(kinds.get(one) for one in above)
        if kinds[name]:
            bodies += 1
        elif fields:
            answers.append(fields)
    said = sum(max((len(fields & record) for record in records), default=0) for fields in answers)
    return Restated(len(answers), sum(map(len, answers)), said, bodies)


def _classes(path: Path) -> Iterator[tuple[str, list[str], set[tuple[str, str]]]]:
    """Each class with what it stands on, and its fields: the name and type of each."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            made = any("dataclass" in ast.unparse(one) for one in node.decorator_list)
            if made or node.bases:
                yield node.name, [ast.unparse(one) for one in node.bases], set(_fields(node))


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for one in node.body:
        if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) and "ClassVar" not in ast.unparse(one):
            yield one.target.id, _plain(ast.unparse(one.annotation))
        shown = isinstance(one, ast.FunctionDef) and any(ast.unparse(made) == "property" for made in one.decorator_list)
        if isinstance(one, ast.FunctionDef) and shown and one.returns is not None:
            yield one.name, _plain(ast.unparse(one.returns))


def _plain(kind: str) -> str:
    """A type in one spelling: what JSON does not tell apart is the same."""
    for name, same in SAME.items():
        kind = re.sub(rf"\b{name}\b", same, kind)
    return re.sub(r"tuple\[(.+?), \.\.\.\]", r"list[\1]", kind).replace("Mapping[", "dict[")


if __name__ == "__main__":
    print(restated(Path(sys.argv[1] if len(sys.argv) > 1 else "src") / "limner"))  # noqa: T201
