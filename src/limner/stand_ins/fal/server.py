"""A stand-in for fal: queue, storage, CDN and lists on one address, as its own client 1.0.3 speaks with them.

``/queue`` takes requests, ``/rest`` begins uploads, ``/cdn`` holds files, ``/api/v1`` lists models and past requests.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from limner.errors import Cancelled
from limner.stand_ins.counting import Paid
from limner.stand_ins.engine import Engine
from limner.stand_ins.fal.files import Files
from limner.stand_ins.fal.models import ModelFailed, check_input, draw, model_of, train
from limner.stand_ins.fal.requests import COMPLETED, QUEUED, RUNNING, FalRequest, listed, stamp
from limner.stand_ins.fal.weights import with_guidance

__all__ = ["FalRequest", "FalStandIn"]

Handler = Callable[[Request], Awaitable[Response]]


class FalStandIn:
    """``app`` is the server; ``requests`` are by id, ``files.stored`` by path, ``paid`` what fal would charge for.

    ``pace`` is the least number of seconds a step takes, ``gate`` lets requests out of the queue, ``runners`` how many
    run at once. To make faults: ``failures`` are (status, body) that the next requests end with, ``withdrawn`` models
    that are not offered, ``no_credit`` an account without money, ``refused_words`` and ``blacked_words`` of prompts,
    ``revoked`` keys, ``odd_status`` a word said instead of the true state, ``expired`` requests whose result is gone.
    ``lists_running``: whether requests are listed before they end; ``guidance_keys``: FLUX.2 loras have guidance_in.
    """

    def __init__(self, engine: Engine, *, tokens: Mapping[str, str] | None = None) -> None:
        self.engine = engine
        self.tokens = dict(tokens or {"token": "account name"})
        self.admins: set[str] = set()
        self.revoked: set[str] = set()
        self.url = ""
        self.files = Files(lambda: self.url)
        self.requests: dict[str, FalRequest] = {}
        self.paid: list[Paid] = []
        self.pace = 0.0
        self.rank = 8
        self.learning_rate = 1e-3
        self.runners = threading.Semaphore(8)
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[tuple[int, Any]] = []
        self.withdrawn: set[str] = set()
        self.no_credit = False
        self.refused_words: tuple[str, ...] = ()
        self.blacked_words: tuple[str, ...] = ()
        self.odd_status = ""
        self.expired: set[str] = set()
        self.lists_running = False
        self.guidance_keys = False
        self._guard = threading.Lock()
        self.app = Starlette(routes=self._routes())

    @property
    def queue_url(self) -> str:
        """For ``settings.fal_queue_url``."""
        return f"{self.url}/queue"

    @property
    def rest_url(self) -> str:
        """For ``settings.fal_rest_url``."""
        return f"{self.url}/rest"

    @property
    def api_url(self) -> str:
        """For ``settings.fal_api_url``."""
        return f"{self.url}/api/v1"

    def wait(self, seconds: float = 30.0) -> None:
        """Wait until every request has ended."""
        until = time.monotonic() + seconds
        while any(one.status != COMPLETED for one in self.requests.values()):
            if time.monotonic() > until:
                raise TimeoutError("requests still run")
            time.sleep(0.005)

    def _routes(self) -> list[Route]:
        one = "/queue/{owner}/{alias}/requests/{id}"
        return [
            Route(f"{one}/status", self._known(self._status), methods=["GET"]),
            Route(f"{one}/cancel", self._known(self._cancel), methods=["PUT"]),
            Route(one, self._known(self._response), methods=["GET"]),
            Route("/queue/{model:path}", self._allowed(self._submit), methods=["POST"]),
            Route("/rest/storage/auth/token", self._allowed(self._cdn_token), methods=["POST"]),
            Route("/rest/storage/upload/initiate", self._allowed(self._initiate), methods=["POST"]),
            Route("/put/{path:path}", self.files.put, methods=["PUT"]),
            Route("/cdn/files/upload/multipart", self.files.begin, methods=["POST"]),
            Route("/cdn/files/upload", self.files.upload, methods=["POST"]),
            Route("/cdn/{path:path}/multipart/{upload}/complete", self.files.complete, methods=["POST"]),
            Route("/cdn/{path:path}/multipart/{upload}/{number:int}", self.files.part, methods=["PUT"]),
            Route("/cdn/{path:path}", self.files.read_out, methods=["GET", "HEAD"]),
            Route("/api/v1/models", self._models, methods=["GET"]),
            Route("/api/v1/models/requests/by-endpoint", self._allowed(self._list), methods=["GET"]),
            Route("/api/v1/models/requests/{id}/payloads", self._allowed(self._forget), methods=["DELETE"]),
        ]

    # --- who asks -----------------------------------------------------------------------------------------------

    def _allowed(self, handler: Handler) -> Handler:
        async def guarded(request: Request) -> Response:
            kind, _, key = request.headers.get("authorization", "").partition(" ")
            if kind != "Key" or key not in self.tokens or key in self.revoked:
                return _detail(401, "Cannot access application. Authentication is required to access this application.")
            request.state.account, request.state.key = self.tokens[key], key
            return await handler(request)

        return guarded

    def _known(self, handler: Callable[[Request, FalRequest], Awaitable[Response]]) -> Handler:
        async def found(request: Request) -> Response:
            one = self.requests.get(request.path_params["id"])
            app = f"{request.path_params['owner']}/{request.path_params['alias']}"
            if one is None or one.account != request.state.account or "/".join(one.model.split("/")[:2]) != app:
                return _detail(404, "Request not found")
            response = await handler(request, one)
            response.headers["x-fal-request-id"] = one.id
            return response

        return self._allowed(found)

    # --- the queue ----------------------------------------------------------------------------------------------

    async def _submit(self, request: Request) -> Response:
        model = request.path_params["model"]
        row = model_of(model)
        if row is None or model in self.withdrawn:
            return _detail(404, f"Application '{model}' not found")
        if self.no_credit:
            return _detail(
                403, "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."
            )
        try:
            body = await request.json()
        except ValueError:
            return _detail(422, "Invalid JSON")
        headers = request.headers
        one = FalRequest(
            id=str(uuid.uuid4()),
            model=model,
            row=row,
            input=body,
            account=request.state.account,
            lifecycle=headers.get("x-fal-object-lifecycle-preference"),
            no_retry=headers.get("x-fal-no-retry", "").lower() in ("1", "true", "yes"),
        )
        self.requests[one.id] = one
        threading.Thread(target=self._run, args=(one,), name=f"fal {one.id}", daemon=True).start()
        return JSONResponse(
            {"status": QUEUED, "request_id": one.id, "queue_position": self._place(one), **self._urls(one)}
        )

    def _urls(self, one: FalRequest) -> dict[str, str]:
        own = f"{self.queue_url}/{'/'.join(one.model.split('/')[:2])}/requests/{one.id}"
        return {"response_url": own, "status_url": f"{own}/status", "cancel_url": f"{own}/cancel"}

    def _place(self, one: FalRequest) -> int:
        waiting = [other for other in self.requests.values() if other.status == QUEUED]
        return sum(other.sent_at < one.sent_at for other in waiting)

    async def _status(self, request: Request, one: FalRequest) -> Response:
        body: dict[str, Any] = {"status": self.odd_status or one.status, "request_id": one.id, **self._urls(one)}
        if one.status == QUEUED:
            return JSONResponse({**body, "queue_position": self._place(one)}, 202)
        lines = [
            {"message": line, "level": "INFO", "source": "USER", "timestamp": stamp(one.sent_at)} for line in one.logs
        ]
        body["logs"] = lines if request.query_params.get("logs", "").lower() in ("1", "true") else None
        if one.status == RUNNING:
            return JSONResponse(body, 202)
        body["metrics"] = {"inference_time": (one.ended_at or 0) - (one.started_at or one.ended_at or 0)}
        if one.error:
            body |= {"error": one.error, "error_type": one.error_type}
        return JSONResponse(body)

    async def _response(self, request: Request, one: FalRequest) -> Response:
        del request
        if one.id in self.expired or one.forgotten:
            return _detail(404, "Request not found")
        if one.status != COMPLETED:
            return _detail(400, "Request is still in progress")
        headers = {"x-fal-error-type": one.error_type} if one.error_type else None
        return JSONResponse(one.output, one.code, headers)

    async def _cancel(self, request: Request, one: FalRequest) -> Response:
        del request
        if one.status == COMPLETED:
            return JSONResponse({"status": "ALREADY_COMPLETED"}, 400)
        one.cancelled = True
        return JSONResponse({"status": "CANCELLATION_REQUESTED"}, 202)

    # --- the work -----------------------------------------------------------------------------------------------

    def _run(self, one: FalRequest) -> None:
        while not self.gate.wait(0.02):
            if one.cancelled:
                return self._end(one, 499, {"detail": "Request was cancelled"}, "Request was cancelled", "cancelled")
        with self.runners:
            if one.cancelled:
                return self._end(one, 499, {"detail": "Request was cancelled"}, "Request was cancelled", "cancelled")
            one.status, one.started_at = RUNNING, time.time()
            bill = Paid("training" if one.row.does == "train" else "picture", one.id, time.time())
            try:
                check_input(one.row, one.input)
                if self.failures:
                    status, body = self.failures.pop(0)
                    raise ModelFailed(status, body)
                self.paid.append(bill)
                output = self._trained(one) if one.row.does == "train" else self._drawn(one)
            except ModelFailed as failure:
                self._unpay(bill)
                detail = failure.body.get("detail") if isinstance(failure.body, Mapping) else failure.body
                kind = failure.kind or ("internal_server_error" if failure.status >= 500 else "invalid_request")
                self._end(
                    one, failure.status, failure.body, detail if isinstance(detail, str) else json.dumps(detail), kind
                )
            except Cancelled:
                self._unpay(bill)
                self._end(one, 499, {"detail": "Request was cancelled"}, "Request was cancelled", "cancelled")
            except Exception as failure:
                self._unpay(bill)
                self._end(
                    one, 500, {"detail": f"Internal Server Error: {failure}"}, str(failure), "internal_server_error"
                )
            else:
                self._end(one, 200, output)
        return None

    def _unpay(self, bill: Paid) -> None:
        with self._guard:
            if bill in self.paid:
                self.paid.remove(bill)

    def _end(self, one: FalRequest, code: int, output: Any, error: str = "", error_type: str = "") -> None:
        one.code, one.output, one.error, one.error_type = code, output, error, error_type
        one.ended_at, one.status = time.time(), COMPLETED

    def _trained(self, one: FalRequest) -> dict[str, Any]:
        steps, began = int(one.input.get("steps", one.row.steps)), time.monotonic()

        def on_step(step: int, loss: float) -> None:
            if self.pace:
                time.sleep(self.pace)
            gone = max(time.monotonic() - began, 1e-6)
            left = gone / step * (steps - step)
            share = f"{step / steps:4.0%}|{'█' * (10 * step // steps):10}| {step}/{steps}"
            clock = f"[{_clock(gone)}<{_clock(left)}, {step / gone:.2f}it/s, loss={loss:.4f}]"
            one.logs.append(f"Training: {share} {clock}")

        one.logs.append("Preparing the dataset")
        data = train(
            self.engine,
            one.row,
            one.input,
            self._read,
            rank=self.rank,
            learning_rate=self.learning_rate,
            on_step=on_step,
            cancelled=lambda: one.cancelled,
        )
        if self.guidance_keys and "caption" in one.row.fields:
            data = with_guidance(data)
        config = json.dumps({"model": one.model, "steps": steps}).encode()
        return {
            "diffusers_lora_file": self._file(
                data, "pytorch_lora_weights.safetensors", "application/octet-stream", one
            ),
            "config_file": self._file(config, "config.json", "application/json", one),
        }

    def _drawn(self, one: FalRequest) -> dict[str, Any]:
        prompt = one.input["prompt"]
        if any(word in prompt for word in self.refused_words):
            entry = {
                "loc": ["body", "prompt"],
                "msg": "The content was flagged by a content checker.",
                "type": "content_policy_violation",
            }
            raise ModelFailed(422, {"detail": [entry]}, "content_policy_violation")
        if self.pace:
            time.sleep(self.pace)
        picture, width, height = draw(self.engine, one.row, one.input, self._read)
        blacked = one.input.get("enable_safety_checker", True) and any(word in prompt for word in self.blacked_words)
        file = self._file(picture, "picture.png", "image/png", one)
        return {
            "images": [{"url": file["url"], "width": width, "height": height, "content_type": "image/png"}],
            "timings": {"inference": 0.1},
            "seed": one.input.get("seed", 0),
            "has_nsfw_concepts": [bool(blacked)],
            "prompt": prompt,
        }

    def _file(self, data: bytes, name: str, media_type: str, one: FalRequest) -> dict[str, Any]:
        url = self.files.keep(data, media_type, name, one.lifecycle)
        return {"url": url, "content_type": media_type, "file_name": name, "file_size": len(data)}

    def _read(self, url: str) -> bytes | None:
        """What anyone can read at an address, here or elsewhere."""
        if url.startswith(f"{self.url}/cdn/"):
            return self.files.read(url)
        import httpx2

        try:
            answer = httpx2.get(url, follow_redirects=True, timeout=30)
        except (httpx2.HTTPError, httpx2.InvalidURL):
            return None
        return answer.content if answer.status_code == 200 else None

    # --- storage and lists --------------------------------------------------------------------------------------

    async def _cdn_token(self, request: Request) -> Response:
        del request
        return JSONResponse(self.files.token())

    async def _initiate(self, request: Request) -> Response:
        wish = request.headers.get("x-fal-object-lifecycle-preference")
        return JSONResponse(self.files.initiate(await request.json(), wish))

    async def _models(self, request: Request) -> Response:
        await asyncio.sleep(0)
        wanted = request.query_params.getlist("endpoint_id")
        rows = [row for name in wanted if (row := model_of(name)) is not None and name not in self.withdrawn]
        if wanted and not rows:
            return JSONResponse({"error": {"type": "not_found", "message": "Endpoint not found"}}, 404)
        models = [{"endpoint_id": row.model, "metadata": {"status": "active"}} for row in rows]
        return JSONResponse({"models": models, "next_cursor": None, "has_more": False})

    async def _list(self, request: Request) -> Response:
        asked = request.query_params
        names = {name for text in asked.getlist("endpoint_id") for name in text.split(",")}
        rows = [
            one
            for one in self.requests.values()
            if one.model in names
            and one.account == request.state.account
            and (one.status == COMPLETED or self.lists_running)
            and asked.get("request_id", one.id) == one.id
            and asked.get("start", "") <= stamp(one.sent_at)
        ]
        rows.sort(key=lambda one: one.ended_at or time.time(), reverse=True)
        first, limit = int(asked.get("cursor") or 0), min(int(asked.get("limit", 50)), 100)
        items = [listed(one, payloads="payloads" in asked.get("expand", "")) for one in rows[first : first + limit]]
        more = first + limit < len(rows)
        return JSONResponse({"items": items, "next_cursor": str(first + limit) if more else None, "has_more": more})

    async def _forget(self, request: Request) -> Response:
        if request.state.key not in self.admins:
            return _detail(403, "An admin key is required")
        one = self.requests.get(request.path_params["id"])
        if one is None:
            return _detail(404, "Request not found")
        one.forgotten = True
        return JSONResponse({"cdn_delete_results": []})


def _detail(status: int, words: str) -> JSONResponse:
    return JSONResponse({"detail": words}, status)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
