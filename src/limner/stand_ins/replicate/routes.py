"""The routes of the Replicate stand-in: what is asked and answered, in the vendor's own forms."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from limner.stand_ins.replicate.bodies import file_body, job_urls, model_body, version_body
from limner.stand_ins.replicate.models import StoredModel, StoredVersion, check_input
from limner.stand_ins.replicate.state import ReplicateState
from limner.stand_ins.replicate.stored import StoredJob

__all__ = ["routes"]

HARDWARE = {"cpu": "CPU", "gpu-t4": "Nvidia T4 GPU", "gpu-l40s": "Nvidia L40S GPU", "gpu-h100": "Nvidia H100 GPU"}
EVENTS = ("start", "output", "logs", "completed")

Handler = Callable[[Request], Awaitable[Response]]
Asked = Callable[[Request, str], Awaitable[Response]]


def problem(status: int, detail: str, **more: Any) -> JSONResponse:
    """A refusal in the vendor's form."""
    return JSONResponse({"detail": detail, "status": status, **more}, status, media_type="application/problem+json")


def routes(vendor: ReplicateState) -> list[Route]:
    """All routes, bound to the state of one stand-in."""
    one = _Routes(vendor)
    model = "/v1/models/{owner}/{name}"
    table: Sequence[tuple[str, str, Asked, str]] = (
        ("GET", "/v1/account", one.account, "read"),
        ("GET", "/v1/hardware", one.hardware, "read"),
        ("GET", "/v1/webhooks/default/secret", one.webhook_secret, "read"),
        ("GET", "/v1/models", one.list_models, "read"),
        ("POST", "/v1/models", one.create_model, "read"),
        ("GET", model, one.get_model, "read"),
        ("DELETE", model, one.delete_model, "read"),
        ("GET", f"{model}/versions", one.list_versions, "read"),
        ("GET", f"{model}/versions/{{version}}", one.get_version, "read"),
        ("DELETE", f"{model}/versions/{{version}}", one.delete_version, "read"),
        ("POST", f"{model}/versions/{{version}}/trainings", one.create_training, "create"),
        ("POST", f"{model}/predictions", one.create_official, "create"),
        ("POST", "/v1/predictions", one.create_prediction, "create"),
        ("GET", "/v1/predictions", one.list_predictions, "read"),
        ("GET", "/v1/predictions/{job}", one.get_job, "read"),
        ("POST", "/v1/predictions/{job}/cancel", one.cancel_job, "read"),
        ("GET", "/v1/trainings", one.list_trainings, "read"),
        ("GET", "/v1/trainings/{job}", one.get_training, "read"),
        ("POST", "/v1/trainings/{job}/cancel", one.cancel_job, "read"),
        ("GET", "/v1/files", one.list_files, "read"),
        ("POST", "/v1/files", one.create_file, "read"),
        ("GET", "/v1/files/{file}", one.get_file, "read"),
        ("DELETE", "/v1/files/{file}", one.delete_file, "read"),
    )
    found = [Route(path, one.known(handler, kind), methods=[method]) for method, path, handler, kind in table]
    return [*found, Route("/delivery/{path:path}", one.delivery, methods=["GET"])]


class _Routes:
    """The handlers. Each is given the request and the account that asks."""

    def __init__(self, vendor: ReplicateState) -> None:
        self.vendor = vendor

    def known(self, handler: Asked, kind: str) -> Handler:
        """A handler behind the token and the rate limit."""

        async def guarded(request: Request) -> Response:
            owner = self.vendor.account(request.headers.get("authorization", ""))
            if owner is None:
                return problem(401, "You did not pass a valid authentication token", title="Unauthenticated")
            limit, left, reset = self.vendor.count_call(owner, kind)
            if left < 0:
                return problem(
                    429, f"Request was throttled. Your rate limit resets in ~{reset}s.", title="Too many requests"
                )
            answer = await handler(request, owner)
            answer.headers["ratelimit-limit"] = str(limit)
            answer.headers["ratelimit-remaining"] = str(left)
            answer.headers["ratelimit-reset"] = str(reset)
            return answer

        return guarded

    # --- account and models -----------------------------------------------------------------------------------------

    async def account(self, _: Request, owner: str) -> Response:
        return JSONResponse({"type": "user", "username": owner, "name": owner.title(), "github_url": ""})

    async def hardware(self, _: Request, __: str) -> Response:
        return JSONResponse([{"sku": sku, "name": name} for sku, name in HARDWARE.items()])

    async def webhook_secret(self, _: Request, __: str) -> Response:
        return JSONResponse({"key": self.vendor.webhook_key})

    async def list_models(self, request: Request, owner: str) -> Response:
        seen = [one for one in self.vendor.models.values() if one.visibility == "public" or one.owner == owner]
        return self._page(request, [model_body(one) for one in seen])

    async def create_model(self, request: Request, owner: str) -> Response:
        body = await _json(request)
        missing = [name for name in ("owner", "name", "visibility", "hardware") if not isinstance(body.get(name), str)]
        if missing:
            return _invalid(
                [{"type": "required", "field": name, "description": f"{name} is required"} for name in missing]
            )
        if body["owner"] != owner:
            return problem(403, "You do not have permission to create a model for this owner.", title="Forbidden")
        if body["hardware"] not in HARDWARE or body["visibility"] not in ("public", "private"):
            return _invalid([{"type": "enum", "field": "hardware", "description": "Not a valid choice"}])
        made = self.vendor.add_model(owner, body["name"], body["visibility"], body["hardware"])
        if made is None:
            return problem(409, f"A model with the name {body['name']} already exists.", title="Conflict")
        return JSONResponse(model_body(made), 201)

    def _asked_model(self, request: Request, owner: str) -> StoredModel | None:
        return self.vendor.find_model(f"{request.path_params['owner']}/{request.path_params['name']}", owner)

    async def get_model(self, request: Request, owner: str) -> Response:
        model = self._asked_model(request, owner)
        return JSONResponse(model_body(model)) if model else _not_found()

    async def delete_model(self, request: Request, owner: str) -> Response:
        model = self._asked_model(request, owner)
        if model is None or model.owner != owner:
            return _not_found()
        if model.versions:
            return problem(400, "You can only delete models that have no versions.")
        del self.vendor.models[model.full_name]
        return Response(status_code=204)

    async def list_versions(self, request: Request, owner: str) -> Response:
        model = self._asked_model(request, owner)
        if model is None:
            return _not_found()
        return self._page(request, [version_body(one) for one in reversed(model.versions)])

    async def get_version(self, request: Request, owner: str) -> Response:
        model = self._asked_model(request, owner)
        version = model.version(request.path_params["version"]) if model else None
        return JSONResponse(version_body(version)) if version else _not_found()

    async def delete_version(self, request: Request, owner: str) -> Response:
        model = self._asked_model(request, owner)
        version = model.version(request.path_params["version"]) if model else None
        if model is None or version is None or model.owner != owner:
            return _not_found()
        model.versions.remove(version)
        return Response(status_code=202)

    # --- files --------------------------------------------------------------------------------------------------------

    async def create_file(self, request: Request, owner: str) -> Response:
        form = await request.form(max_part_size=self.vendor.most_file_bytes + 1)
        content = form.get("content")
        if not isinstance(content, UploadFile):
            return problem(400, "Missing content", title="Bad Request")
        data = await content.read()
        if len(data) > self.vendor.most_file_bytes:
            return problem(413, "Files must be less than 100MB in size", title="Content Too Large")
        said = form.get("metadata")
        try:
            metadata = json.loads(said) if isinstance(said, str) else {}
        except ValueError:
            return problem(400, "Metadata is no JSON", title="Bad Request")
        kind = content.content_type or "application/octet-stream"
        file = self.vendor.add_file(owner, content.filename or "file", kind, data, metadata)
        return JSONResponse(file_body(self.vendor.url, file), 201)

    async def list_files(self, request: Request, owner: str) -> Response:
        mine = [one for one in list(self.vendor.files.values()) if self.vendor.find_file(one.id, owner)]
        return self._page(request, [file_body(self.vendor.url, one) for one in reversed(mine)])

    async def get_file(self, request: Request, owner: str) -> Response:
        file = self.vendor.find_file(request.path_params["file"], owner)
        return JSONResponse(file_body(self.vendor.url, file)) if file else problem(404, "File not found")

    async def delete_file(self, request: Request, owner: str) -> Response:
        file = self.vendor.find_file(request.path_params["file"], owner)
        if file is None:
            return problem(404, "File not found")
        del self.vendor.files[file.id]
        return Response(status_code=204)

    # --- jobs ---------------------------------------------------------------------------------------------------------

    async def create_training(self, request: Request, owner: str) -> Response:
        model = self._asked_model(request, owner)
        version = model.version(request.path_params["version"]) if model else None
        if model is None or version is None or model.does != "train":
            return problem(404, "The requested resource could not be found.", title="Not found")
        body = await _json(request)
        if not isinstance(body.get("destination"), str) or not isinstance(body.get("input"), dict):
            return _invalid(
                [{"type": "required", "field": "(root)", "description": "destination and input are required"}]
            )
        destination = self.vendor.models.get(body["destination"])
        if destination is None or destination.owner != owner:
            return problem(404, "The specified training destination does not exist")
        return self._begin("training", owner, model, version, body, "TrainingInput", destination=destination.full_name)

    async def create_prediction(self, request: Request, owner: str) -> Response:
        body = await _json(request)
        if not isinstance(body.get("version"), str) or not isinstance(body.get("input"), dict):
            return _invalid([{"type": "required", "field": "(root)", "description": "version and input are required"}])
        name, _, wanted = body["version"].rpartition(":")
        for model in list(self.vendor.models.values()):
            if name not in ("", model.full_name) or self.vendor.find_model(model.full_name, owner) is None:
                continue
            version = model.version(wanted)
            if model.official and wanted == model.full_name:
                version = model.versions[-1]
            if version is not None and model.does == "generate":
                return self._begin("prediction", owner, model, version, body, "Input")
        return _invalid([{"type": "version", "field": "version", "description": "Invalid version or not permitted"}])

    async def create_official(self, request: Request, owner: str) -> Response:
        model = self._asked_model(request, owner)
        if model is None or model.does != "generate" or not model.official:
            return problem(404, "The requested resource could not be found.", title="Not found")
        body = await _json(request)
        if not isinstance(body.get("input"), dict):
            return _invalid([{"type": "required", "field": "(root)", "description": "input is required"}])
        return self._begin("prediction", owner, model, model.versions[-1], body, "Input")

    def _begin(
        self,
        kind: str,
        owner: str,
        model: StoredModel,
        version: StoredVersion,
        body: Mapping[str, Any],
        inputs: str,
        **more: Any,
    ) -> Response:
        wrong = check_input(version.schema, inputs, body["input"])
        if wrong:
            return _invalid(wrong)
        webhook, events = body.get("webhook") or "", tuple(body.get("webhook_events_filter") or ())
        if webhook and not webhook.startswith(("https://", "http://") if self.vendor.plain_webhooks else "https://"):
            return _invalid([{"type": "webhook", "field": "webhook", "description": "must be a valid HTTPS URL"}])
        if any(event not in EVENTS for event in events):
            return _invalid([{"type": "enum", "field": "webhook_events_filter", "description": "Not a valid choice"}])
        given = dict(body["input"])
        job = self.vendor.new_job(kind, owner, model, version, given, webhook=webhook, events=events, **more)
        answer = self.vendor.body(job)
        # As the vendor does: right after the start a training's addresses are those of a prediction.
        answer["urls"] = job_urls(self.vendor.url, "predictions", job.id)
        self.vendor.begin(job)
        return JSONResponse(answer, 201)

    def _job(self, request: Request, owner: str, *, trainings_only: bool = False) -> StoredJob | None:
        name = request.path_params["job"]
        job = self.vendor.trainings.get(name) or (None if trainings_only else self.vendor.predictions.get(name))
        if job is None or job.owner != owner or (job.kind == "training" and self.vendor.data_gone(job)):
            return None
        return job

    async def get_job(self, request: Request, owner: str) -> Response:
        job = self._job(request, owner)
        return JSONResponse(self.vendor.body(job)) if job else _not_found()

    async def get_training(self, request: Request, owner: str) -> Response:
        job = self._job(request, owner, trainings_only=True)
        return JSONResponse(self.vendor.body(job)) if job else _not_found()

    async def cancel_job(self, request: Request, owner: str) -> Response:
        job = self._job(request, owner)
        if job is None:
            return _not_found()
        job.cancelled.set()
        return JSONResponse(self.vendor.body(job))

    async def list_trainings(self, request: Request, owner: str) -> Response:
        return self._list(request, owner, self.vendor.trainings)

    async def list_predictions(self, request: Request, owner: str) -> Response:
        return self._list(request, owner, self.vendor.predictions)

    def _list(self, request: Request, owner: str, jobs: Mapping[str, StoredJob]) -> Response:
        after, before = _moment(request, "created_after", 0.0), _moment(request, "created_before", float("inf"))
        mine = [
            one
            for one in list(jobs.values())
            if one.owner == owner
            and after <= one.created < before
            and not (one.kind == "training" and self.vendor.data_gone(one))
        ]
        mine.sort(key=lambda one: one.created, reverse=True)
        return self._page(request, [self.vendor.body(one) for one in mine])

    def _page(self, request: Request, rows: list[Any]) -> Response:
        """A page of a list; the cursor is opaque to whoever asks."""
        try:
            start = int(request.query_params.get("cursor", "p0").removeprefix("p"))
        except ValueError:
            return problem(400, "Invalid cursor")
        size = self.vendor.page_size
        others = {name: value for name, value in request.query_params.items() if name != "cursor"}

        def link(position: int) -> str:
            return f"{self.vendor.url}{request.url.path}?{urlencode({'cursor': f'p{position}', **others})}"

        return JSONResponse(
            {
                "previous": link(max(0, start - size)) if start else None,
                "next": link(start + size) if start + size < len(rows) else None,
                "results": rows[start : start + size],
            }
        )

    # --- deliveries ---------------------------------------------------------------------------------------------------

    async def delivery(self, request: Request) -> Response:
        """A file of a job, for whoever knows its address; parts of it too."""
        found = self.vendor.delivery(request.path_params["path"])
        if found is None:
            return Response("Not Found", 404, media_type="text/plain")
        data, kind = found
        headers = {"accept-ranges": "bytes", "etag": f'"{hashlib.sha256(data).hexdigest()[:32]}"'}
        asked = request.headers.get("range", "")
        if asked.startswith("bytes=") and asked.endswith("-") and asked[6:-1].isdecimal():
            start = int(asked[6:-1])
            if start >= len(data):
                return Response(status_code=416, headers={"content-range": f"bytes */{len(data)}"})
            headers["content-range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            return Response(data[start:], 206, headers, media_type=kind)
        return Response(data, 200, headers, media_type=kind)


async def _json(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _moment(request: Request, name: str, usual: float) -> float:
    try:
        return datetime.fromisoformat(request.query_params[name]).timestamp()
    except (KeyError, ValueError):
        return usual


def _not_found() -> Response:
    return problem(404, "Not found.", title="Not found")


def _invalid(wrong: Sequence[Mapping[str, str]]) -> Response:
    """A refused input in the vendor's form."""
    detail = "".join(f"- {one['field']}: {one['description']}\n" for one in wrong)
    return problem(422, detail, title="Input validation failed", invalid_fields=[dict(one) for one in wrong])
