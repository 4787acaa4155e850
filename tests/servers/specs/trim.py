"""Make a small interface description of a big one: some of its paths, and of its components what those refer to.

    python -m tests.servers.specs.trim SOURCE.json TARGET.json PATH ...

A PATH that ends with ``*`` stands for all that begin so. Descriptions and examples are left out,
nothing else.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PROSE = {"description", "summary", "example", "examples", "externalDocs", "tags"}


def trimmed(spec: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
    """The description with the wanted paths only."""
    paths = {path: item for path, item in spec["paths"].items() if any(_named(path, name) for name in wanted)}
    small: dict[str, Any] = {key: spec[key] for key in ("openapi", "info", "servers") if key in spec}
    small["paths"] = without_prose(paths)
    small["info"] = {key: value for key, value in spec["info"].items() if key != "description"}
    components: dict[str, dict[str, Any]] = {}
    left = set(references(small["paths"]))
    while left:
        _, _, kind, name = left.pop().split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = without_prose(spec["components"][kind][name])
            left |= set(references(components[kind][name]))
    if "securitySchemes" in spec.get("components", {}):
        components["securitySchemes"] = without_prose(spec["components"]["securitySchemes"])
    small["components"] = components
    return small


def _named(path: str, name: str) -> bool:
    return path.startswith(name[:-1]) if name.endswith("*") else path == name


def references(part: Any) -> Iterator[str]:
    """All ``$ref`` inside a part of a description."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def without_prose(part: Any, *, names: bool = False) -> Any:
    """A part without descriptions; inside ``properties`` such a word is the name of a property and stays."""
    if isinstance(part, list):
        return [without_prose(value) for value in part]
    if not isinstance(part, dict):
        return part
    kept = {}
    for key, value in part.items():
        if names or key not in PROSE:
            kept[key] = without_prose(value, names=not names and key in ("properties", "responses", "content"))
    return kept


if __name__ == "__main__":
    source, target, *named = sys.argv[1:]
    result = trimmed(json.loads(Path(source).read_text(encoding="utf-8")), named)
    Path(target).write_text(json.dumps(result, indent=1, sort_keys=True) + "\n", encoding="utf-8")
