"""The API's description: whole, with examples that fit, and nothing in it that breaks programs written for it."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from limner.errors import LimnerError
from limner.web.api.openapi import CODES

TOOL = Path(__file__).parents[3] / "tools" / "openapi_diff.py"


def _tool() -> Any:
    spec = importlib.util.spec_from_file_location("openapi_diff", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


diff = _tool()


@lru_cache
def document() -> dict[str, Any]:
    made: dict[str, Any] = diff.described()
    return made


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, at in document()["paths"].items():
        for method, operation in at.items():
            yield path, method, operation


def test_nothing_breaks_and_the_snapshot_is_up_to_date() -> None:
    snapshot = json.loads(diff.SNAPSHOT.read_text())
    found = diff.breaks(snapshot, document())
    assert not found, "this breaks programs written for the API:\n" + "\n".join(found)
    assert diff.written(document()) == diff.SNAPSHOT.read_text(), (
        "the API has grown: look at the difference, then take it over with python tools/openapi_diff.py --refresh"
    )


def test_it_is_valid_and_says_what_it_is() -> None:
    validate(document())
    assert document()["openapi"].startswith("3.1")
    assert set(document()["components"]["securitySchemes"]) == {"token", "session"}
    assert document()["security"] == [{"token": []}, {"session": []}]


def test_every_operation_is_described() -> None:
    names = [one["operationId"] for _, _, one in operations()]
    assert len(names) == len(set(names))
    for path, method, one in operations():
        where = f"{method} {path}"
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", one["operationId"]), where
        assert one["summary"] and one["description"] and len(one["tags"]) == 1, where
        assert "default" in one["responses"], where
        if method == "post" and one["tags"] != ["uploads"]:
            assert any(given["name"] == "Idempotency-Key" for given in one["parameters"]), where
        for given in one.get("parameters", ()):
            assert _bounded(given["schema"]), f"{where}: {given['name']} has no limit"


def test_every_body_and_answer_has_an_example_that_fits() -> None:
    count = 0
    for path, method, one in operations():
        contents = [("body", one.get("requestBody", {}).get("content", {}))]
        contents += [(status, answer.get("content", {})) for status, answer in one["responses"].items()]
        for where, content in contents:
            for kind, part in content.items():
                if kind != "application/json":
                    continue
                schema = {**part["schema"], "components": document()["components"]}
                wrong = [error.message for error in Draft202012Validator(schema).iter_errors(part["example"])]
                assert not wrong, f"{method} {path} {where}: {wrong[0]}"
                count += 1
    assert count > 120


def test_every_text_and_number_that_is_sent_has_a_limit() -> None:
    shapes = document()["components"]["schemas"]
    sent: set[str] = set()

    def gather(schema: Any) -> None:
        if isinstance(schema, dict):
            name = str(schema.get("$ref", "")).rsplit("/", 1)[-1]
            if name and name not in sent:
                sent.add(name)
                gather(shapes[name])
            for one in schema.values():
                gather(one)
        elif isinstance(schema, list):
            for one in schema:
                gather(one)

    for _, _, one in operations():
        gather(one.get("requestBody", {}))
    for name in sorted(sent):
        for field, schema in shapes[name].get("properties", {}).items():
            assert _bounded(schema), f"{name}.{field} has no limit"


def _bounded(schema: dict[str, Any]) -> bool:
    if "$ref" in schema or "enum" in schema or "const" in schema:
        return True
    if "anyOf" in schema:
        return all(_bounded(one) for one in schema["anyOf"])
    match schema.get("type"):
        case "string":
            return bool({"maxLength", "pattern", "format"} & schema.keys())
        case "integer":
            return {"maximum", "minimum"} <= schema.keys()
        case "number":
            return "maximum" in schema or "minimum" in schema or schema.keys() <= {"type", "title"}
        case "array":
            return "maxItems" in schema and _bounded(schema["items"])
        case "object":
            return bool({"maxProperties", "properties"} & schema.keys())
    return True


def _kinds_of(kind: type[LimnerError]) -> Iterator[type[LimnerError]]:
    yield kind
    for one in kind.__subclasses__():
        yield from _kinds_of(one)


def test_the_types_of_problems_are_all_named() -> None:
    document()  # everything that the app needs is loaded
    ours = {one.code for one in _kinds_of(LimnerError) if one.__module__.startswith("limner.")}
    assert ours <= set(CODES)


def changed(*where: str, to: Any = None) -> dict[str, Any]:
    """The description with one place taken away, or changed."""
    made = copy.deepcopy(document())
    at: Any = made
    for key in where[:-1]:
        at = at[int(key)] if isinstance(at, list) else at[key]
    if to is None:
        if isinstance(at, list):
            at.remove(where[-1])
        else:
            del at[where[-1]]
    else:
        at[where[-1]] = to
    return made


SUBJECT = ("components", "schemas", "Subject")
WANTED = ("components", "schemas", "NewSubject")


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (lambda: changed("paths", "/api/v1/subjects"), "/api/v1/subjects is gone"),
        (lambda: changed("paths", "/api/v1/subjects", "post"), "POST /api/v1/subjects is gone"),
        (lambda: changed(*SUBJECT, "properties", "trigger"), "the field trigger is gone"),
        (lambda: changed(*WANTED, "properties", "trigger"), "the field trigger is gone"),
        (lambda: changed(*SUBJECT, "properties", "photos", to={"type": "string"}), "the type was integer, is string"),
        (lambda: changed(*SUBJECT, "required", "slug"), "the field slug may be missing now"),
        (lambda: changed(*WANTED, "required", to=["slug", "name"]), "the field name has to be sent now"),
        (lambda: changed("components", "schemas", "SubjectKind", "enum", "pet"), "pet is not taken any more"),
        (lambda: changed(*WANTED, "properties", "name", "maxLength", to=10), "maxLength is 10 now"),
        (lambda: changed("paths", "/api/v1/subjects", "post", "responses", "201"), "the answer 201 is gone"),
        (lambda: changed("paths", "/api/v1/subjects", "post", "operationId", to="make_it"), "operationId was"),
    ],
)
def test_what_breaks_is_found(new: Any, words: str) -> None:
    found = diff.breaks(document(), new())
    assert any(words in line for line in found), found


def test_what_only_adds_breaks_nothing() -> None:
    assert diff.breaks(document(), document()) == []
    more = changed(*SUBJECT, "properties", "colour", to={"type": "string"})
    more["components"]["schemas"]["NewSubject"]["properties"]["colour"] = {"type": "string", "maxLength": 10}
    more["components"]["schemas"]["SubjectKind"]["enum"].append("place")
    more["paths"]["/api/v1/colours"] = more["paths"]["/api/v1/bases"]
    assert diff.breaks(document(), more) == []
