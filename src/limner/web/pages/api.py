"""The API's docs, read from its own description."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from limner.web.visit import page

__all__ = ["router"]

router = APIRouter()


@router.get("/api")
def docs(request: Request) -> Response:
    """Every operation with its parameters, bodies and answers."""
    document = request.app.openapi()
    groups = [(tag["name"], tag["description"], _operations(document, tag["name"])) for tag in document["tags"]]
    host = request.headers.get("host", "127.0.0.1")
    return page(request, "pages/api.html", info=document["info"], groups=groups, host=host)


def _operations(document: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    found = []
    for path, at in document["paths"].items():
        for method, one in at.items():
            if one["tags"] == [tag]:
                found.append(
                    {
                        "id": one["operationId"],
                        "method": method.upper(),
                        "path": path,
                        "summary": one["summary"],
                        "description": one["description"].replace("``", ""),
                        "parameters": [_parameter(given) for given in one.get("parameters", ())],
                        "body": _example(one.get("requestBody", {})),
                        "answers": [
                            (
                                status,
                                answer.get("description", ""),
                                ", ".join(answer.get("content", {})),
                                _example(answer),
                            )
                            for status, answer in one["responses"].items()
                            if status < "4"
                        ],
                        "refusals": [status for status in one["responses"] if "4" <= status < "5"],
                    }
                )
    return found


def _parameter(given: dict[str, Any]) -> tuple[str, str, str, bool]:
    schema = given.get("schema", {})
    kinds = [one.get("type", "") for one in schema.get("anyOf", [schema])]
    kind = " or ".join(one for one in kinds if one and one != "null")
    return (
        given["name"],
        given["in"],
        f"{given.get('description', '')} {f'({kind})' if kind else ''}".strip(),
        given["required"],
    )


def _example(part: dict[str, Any]) -> str:
    for one in part.get("content", {}).values():
        if "example" in one:
            return json.dumps(one["example"], indent=2, ensure_ascii=False)
    return ""
