"""The description of the API, OpenAPI 3.1: what FastAPI says of the routes, and what all of them have in common."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from limner import errors
from limner.errors import LimnerError
from limner.web.api.examples import example_of
from limner.web.api.shapes import Problem
from limner.web.problems import PROBLEM

__all__ = ["CODES", "TAGS", "describe"]

SUMMARY = "Photos into a FLUX lora that you own, and into pictures made with it."
DESCRIPTION = """\
Everything that the pages of Limner do. Times are UTC, sizes pixels, money US dollars written as strings.

- **Errors** are `application/problem+json`: what happened, and in `remedy` what to do next. `type` does not change.
- **Lists** come in parts: `?limit=&cursor=`; `next` is the cursor of the next part, and `Link` has its address.
- **Idempotency-Key** on any POST: the same request sent again is done once and answered alike, for a week.
- **ETag** on every GET of JSON; `If-None-Match` answers 304; `If-Match` on PUT, PATCH and DELETE answers 412 if the
  thing was changed meanwhile.
- **Long work** is a job: 202, its address in `Location`, and `/jobs/{job}/events` to follow it.
- **What may cost** takes `?what_if=true`: the plan, the exact requests and the price, and nothing is sent that costs.
  `yes` in the body agrees to a price that is asked about; `max_cost` refuses one that is higher.
- **Access**: on this machine nobody has to log in. Else send `Authorization: Bearer lim_…`. Its scopes say what it may
  do: `read`, `write`, `spend` (what a vendor is paid for), `admin` (users, accounts, settings, doctor).
"""
TAGS = {
    "subjects": "Who or what is learned, and their consent.",
    "uploads": "Files on their way in, by tus 1.0.0: sent piece by piece, gone on with where they stopped.",
    "photos": "The photos of a subject, their captions and crops.",
    "datasets": "Photos, captions and crops, frozen.",
    "trainings": "Runs of a recipe on a dataset.",
    "loras": "Versions of a subject's weights.",
    "publications": "Loras on hubs.",
    "generations": "Requests for pictures.",
    "images": "The pictures.",
    "grids": "Pictures side by side over two axes, and votes.",
    "jobs": "Long work.",
    "costs": "What was estimated and paid.",
    "routes": "Every way from photos to pictures.",
    "setup": "Bases, back ends and health.",
    "accounts": "Accounts at vendors.",
    "users": "Who may log in.",
    "tokens": "API tokens.",
    "webhooks": "Addresses that are told of events.",
    "settings": "What can be set.",
}
OWN_CODES = (
    "checksum-differs",
    "digest-differs",
    "method-not-allowed",
    "not-an-upload",
    "upload-too-large",
    "webhook-refused",
    "wrong-media-type",
)
CODES = sorted(
    {one.code for one in vars(errors).values() if isinstance(one, type) and issubclass(one, LimnerError)}
    | set(OWN_CODES)
)
"""What the type of a problem may be, after ``urn:limner:``."""

Json = dict[str, Any]
DIGITS: dict[str, Any] = {"type": "string", "pattern": "^[0-9]{1,15}$"}
TUS_HEADERS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "Tus-Resumable": ("The version of tus.", {"const": "1.0.0", "type": "string"}, True),
    "Upload-Length": ("The file's size in bytes.", DIGITS, True),
    "Upload-Metadata": (
        "subject, batch, name, and if known position and sha256: each a key and base64 of its value.",
        {"type": "string", "maxLength": 8_000, "pattern": "^[ -~]*$"},
        True,
    ),
    "Upload-Offset": ("The byte from which the body goes on.", DIGITS, True),
    "Upload-Checksum": ("sha256 and base64 of the body's digest.", {"type": "string", "pattern": "^[ -~]*$"}, False),
}
TUS: dict[str, tuple[str, ...]] = {
    "get_upload_options": (),
    "create_upload": ("Tus-Resumable", "Upload-Length", "Upload-Metadata"),
    "get_upload_offset": ("Tus-Resumable",),
    "send_bytes": ("Tus-Resumable", "Upload-Offset", "Upload-Checksum"),
    "delete_upload": ("Tus-Resumable",),
}
"""The operations that speak tus, with the headers that each takes."""
PROBLEM_REF = {"$ref": "#/components/responses/Problem"}
EXAMPLE_PROBLEM = {
    "type": "urn:limner:not-found",
    "code": "not-found",
    "title": "not found",
    "status": 404,
    "detail": "There is no subject 'rex'.",
    "remedy": "List them: limner subjects list",
    "thing": "rex",
}


def describe(app: FastAPI) -> None:
    """Make the app describe itself at its ``openapi_url``, once it is asked."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> Json:
    document: Json = get_openapi(
        title="Limner",
        version=app.version,
        openapi_version="3.1.0",
        summary=SUMMARY,
        description=DESCRIPTION,
        routes=app.routes,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
    )
    parts = document.setdefault("components", {})
    shapes: Json = parts.setdefault("schemas", {})
    for ours in ("HTTPValidationError", "ValidationError"):
        shapes.pop(ours, None)
    for name, shape in shapes.items():
        # What is sent may leave out what has a default; what is given has all its fields.
        if "properties" in shape and shape.get("additionalProperties") is not False and not name.startswith("Body_"):
            shape["required"] = list(shape["properties"])
        if name.startswith("Page_"):
            shape["title"] = f"Page[{name[5:-1]}]"
    problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    shapes.update(problem.pop("$defs", {}))
    problem["properties"]["type"]["enum"] = [f"urn:limner:{code}" for code in CODES]
    problem["properties"]["code"]["enum"] = CODES
    shapes["Problem"] = problem
    parts["responses"] = {
        "Problem": {
            "description": "It was not done: what happened, and what to do next",
            "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": EXAMPLE_PROBLEM}},
        }
    }
    parts["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "description": "An API token: lim_…"},
        "session": {
            "type": "apiKey",
            "in": "cookie",
            "name": "limner_session",
            "description": "Of a browser that has logged in; the name goes on with a mark of the home. "
            "What changes something then needs the page's token as X-CSRF-Token.",
        },
    }
    document["security"] = [{"token": []}, {"session": []}]
    for path, at in document["paths"].items():
        for method, operation in at.items():
            _complete(path, method, operation, at, shapes)
    used = {tag for at in document["paths"].values() for one in at.values() for tag in one["tags"]}
    document["tags"] = [{"name": name, "description": words} for name, words in TAGS.items() if name in used]
    return document


def _complete(path: str, method: str, operation: Json, at: Json, shapes: Json) -> None:
    # A router's tag comes before that of the route, which is the closer one.
    operation["tags"] = operation.get("tags", [])[-1:]
    operation.setdefault("description", operation.get("summary", ""))
    answers = operation["responses"]
    answers.pop("422", None)
    takes = "requestBody" in operation
    codes = {"401", "403", "422"} | ({"404"} if "{" in path else set()) | ({"415"} if takes else set())
    if method in ("put", "patch", "delete"):
        codes |= {"409", "412"}
    if method == "post":
        codes |= {"409"}
    if any(one["name"] == "what_if" for one in operation.get("parameters", ())):
        codes |= {"402", "424"}
    answers.update({code: PROBLEM_REF for code in sorted(codes) if code not in answers})
    answers["default"] = PROBLEM_REF
    if operation["operationId"] in TUS:
        _tus(operation)
    else:
        _headers(method, operation, at)
    _examples(operation, shapes)


def _headers(method: str, operation: Json, at: Json) -> None:
    given = operation.setdefault("parameters", [])
    answers = operation["responses"]
    if method == "post":
        words = "An id of your own for this wish: sent again with the same one, it is done once."
        given.append(_header("Idempotency-Key", words, {"type": "string", "maxLength": 255, "pattern": "^[ -~]*$"}))
    if method in ("put", "patch", "delete") and "get" in at:
        given.append(_header("If-Match", "The ETag of a GET of this address: 412 if it has another one by now."))
    if method == "get" and "application/json" in answers.get("200", {}).get("content", {}):
        given.append(_header("If-None-Match", "The ETag that you have: 304 if it is still the same."))
        answers["200"]["headers"] = {"ETag": {"schema": {"type": "string"}, "description": "A strong tag of the body."}}
        answers["304"] = {"description": "You have it already"}
        if any(one["name"] == "cursor" for one in given):
            link = {"schema": {"type": "string"}, "description": 'The next part, with rel="next".'}
            answers["200"]["headers"]["Link"] = link
    for status in ("201", "202"):
        if status in answers:
            where = {"schema": {"type": "string"}, "description": "Where it is; of long work the job."}
            answers[status].setdefault("headers", {})["Location"] = where
    if not given:
        del operation["parameters"]


def _tus(operation: Json) -> None:
    for name in TUS[operation["operationId"]]:
        words, schema, needed = TUS_HEADERS[name]
        operation.setdefault("parameters", []).append({**_header(name, words, schema), "required": needed})
    if operation["operationId"] == "send_bytes":
        content = {"application/offset+octet-stream": {"schema": {"type": "string", "format": "binary"}}}
        operation["requestBody"] = {"required": True, "description": "The bytes", "content": content}


def _header(name: str, words: str, schema: Json | None = None) -> Json:
    limits = schema or {"type": "string", "maxLength": 500, "pattern": "^[ -~]*$"}
    return {"name": name, "in": "header", "required": False, "description": words, "schema": limits}


def _examples(operation: Json, shapes: Json) -> None:
    contents = [operation.get("requestBody", {}).get("content", {})]
    contents += [one.get("content", {}) for one in operation["responses"].values()]
    for content in contents:
        for kind, one in content.items():
            if kind == "application/json" and "schema" in one:
                one["example"] = example_of(one["schema"], shapes)
