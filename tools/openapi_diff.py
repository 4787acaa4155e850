"""What in a new description of the API would break programs written for the old one.

python tools/openapi_diff.py            compares the app with tests/web/api/openapi.json
python tools/openapi_diff.py --refresh  and takes the app's as the new one, unless it breaks something
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

__all__ = ["SNAPSHOT", "breaks", "described", "written"]

SNAPSHOT = Path(__file__).parents[1] / "tests" / "web" / "api" / "openapi.json"
Json = Mapping[str, Any]


def described() -> dict[str, Any]:
    """The app's own description, as it is now; the version of Limner is no part of it."""
    from limner.settings import Settings
    from limner.web.app import create_app

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(home=Path(folder) / "home", start_worker=False))
        document: dict[str, Any] = json.loads(json.dumps(app.openapi()))
        app.state.studio.close()
    document["info"]["version"] = ""
    return document


def written(document: Json) -> str:
    """A description as the snapshot has it."""
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def breaks(old: Json, new: Json) -> list[str]:
    """What would break, in words; nothing where the new one only has more."""
    found = []
    for path, at in old["paths"].items():
        for method, before in at.items():
            after = new["paths"].get(path, {}).get(method)
            where = f"{method.upper()} {path}"
            if after is None:
                found.append(f"{where} is gone")
            else:
                found += _Comparison(old, new).operation(where, before, after)
    return found


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str, bool]] = set()

    def operation(self, where: str, old: Json, new: Json) -> Iterator[str]:
        if old["operationId"] != new["operationId"]:
            yield f"{where}: operationId was {old['operationId']}, is {new['operationId']}"
        yield from self._parameters(where, old.get("parameters", []), new.get("parameters", []))
        yield from self._bodies(where, old.get("requestBody"), new.get("requestBody"))
        for status, before in old["responses"].items():
            if status < "2" or status >= "3":
                continue
            after = new["responses"].get(status)
            if after is None:
                yield f"{where}: the answer {status} is gone"
                continue
            for kind, content in before.get("content", {}).items():
                if kind not in after.get("content", {}):
                    yield f"{where}: {status} is no {kind} any more"
                    continue
                there = after["content"][kind]
                yield from self.schema(f"{where} {status}", content["schema"], there["schema"], sent=False)

    def _parameters(self, where: str, old: list[Json], new: list[Json]) -> Iterator[str]:
        before = {(one["in"], one["name"]): one for one in old}
        after = {(one["in"], one["name"]): one for one in new}
        for (place, name), one in before.items():
            if place == "path":
                continue
            if (place, name) not in after:
                yield f"{where}: the parameter {name} is gone"
            else:
                there = after[place, name]
                if there.get("required") and not one.get("required"):
                    yield f"{where}: the parameter {name} has to be given now"
                yield from self.schema(f"{where} {name}", one["schema"], there["schema"], sent=True)
        for key, one in after.items():
            if key not in before and one.get("required") and key[0] != "path":
                yield f"{where}: a new parameter {key[1]} has to be given"

    def _bodies(self, where: str, old: Json | None, new: Json | None) -> Iterator[str]:
        if old is None:
            if new is not None and new.get("required"):
                yield f"{where}: a body has to be sent now"
            return
        if new is None:
            yield f"{where}: no body is taken any more"
            return
        for kind, content in old["content"].items():
            if kind not in new["content"]:
                yield f"{where}: {kind} is not taken any more"
            elif "schema" in content:
                yield from self.schema(f"{where} body", content["schema"], new["content"][kind]["schema"], sent=True)

    def schema(self, where: str, old: Json, new: Json, *, sent: bool) -> Iterator[str]:
        """What breaks for who sends the old schema, or is given the new one."""
        mark = (str(old.get("$ref", "")), str(new.get("$ref", "")), sent)
        if mark[0] and mark in self._seen:
            return
        self._seen.add(mark)
        old, new = _resolved(self._old, old), _resolved(self._new, new)
        yield from _types(where, old, new, sent=sent)
        yield from _limits(where, old, new, sent=sent)
        had, has = old.get("properties", {}), new.get("properties", {})
        for name in had.keys() - has.keys() if has else ():
            yield f"{where}: the field {name} is gone"
        needed, needs = set(old.get("required", ())), set(new.get("required", ()))
        if sent:
            yield from (f"{where}: the field {name} has to be sent now" for name in sorted(needs - needed))
        else:
            lost = (needed - needs) & has.keys()
            yield from (f"{where}: the field {name} may be missing now" for name in sorted(lost))
        for name in had.keys() & has.keys():
            yield from self.schema(f"{where}.{name}", had[name], has[name], sent=sent)
        for part in ("items", "additionalProperties"):
            if isinstance(old.get(part), Mapping) and isinstance(new.get(part), Mapping):
                yield from self.schema(f"{where}[]", old[part], new[part], sent=sent)
        choices = old.get("anyOf", ()), new.get("anyOf", ())
        if len(choices[0]) == len(choices[1]):
            for one, other in zip(*choices, strict=True):
                yield from self.schema(where, one, other, sent=sent)


def _resolved(document: Json, schema: Json) -> Json:
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _kinds(schema: Json) -> set[str]:
    """The types that a schema allows, by word; a shape by reference is told by its own."""
    if "anyOf" in schema:
        return set().union(*(_kinds(one) for one in schema["anyOf"]))
    kind = schema.get("type", "any" if "$ref" not in schema else "shape")
    return {kind} if isinstance(kind, str) else set(kind)


def _types(where: str, old: Json, new: Json, *, sent: bool) -> Iterator[str]:
    had, has = _kinds(old), _kinds(new)
    narrower = has if sent else had
    wider = had if sent else has
    missing = set() if "any" in narrower else wider - narrower
    if missing:
        yield f"{where}: the type was {' or '.join(sorted(had))}, is {' or '.join(sorted(has))}"
    before, after = set(map(str, old.get("enum", ()))), set(map(str, new.get("enum", ())))
    if sent and after and (gone := before - after):
        yield f"{where}: {', '.join(sorted(gone))} is not taken any more"
    if sent and after and not before and "const" not in old:
        yield f"{where}: only {', '.join(sorted(after))} is taken now"


def _limits(where: str, old: Json, new: Json, *, sent: bool) -> Iterator[str]:
    if not sent:
        return
    for name in ("maximum", "maxLength", "maxItems", "maxProperties"):
        if name in new and new[name] < old.get(name, float("inf")):
            yield f"{where}: {name} is {new[name]} now"
    for name in ("minimum", "minLength", "minItems", "minProperties"):
        if name in new and new[name] > old.get(name, float("-inf")):
            yield f"{where}: {name} is {new[name]} now"


def main() -> int:
    """Compare, and refresh if asked."""
    new = described()
    found = breaks(json.loads(SNAPSHOT.read_text()), new) if SNAPSHOT.exists() else []
    for line in found:
        print(line)  # noqa: T201
    if found and "--even-if-it-breaks" not in sys.argv:
        return 1
    if "--refresh" in sys.argv:
        SNAPSHOT.write_text(written(new))
    return 0


if __name__ == "__main__":
    sys.exit(main())
