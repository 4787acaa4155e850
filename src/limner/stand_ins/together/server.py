"""Together AI as a server on this machine: its list of models, and pictures drawn with loras that it fetches itself.

It follows the vendor's published description for ``GET /v1/models`` and ``POST /v1/images/generations``. What the
description leaves open (errors, limits, the content filter) is as the vendor's papers tell it.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from limner.catalog.hosted import HostedModel, find_hosted
from limner.stand_ins.catalog import stand_in_rows
from limner.stand_ins.counting import Paid
from limner.stand_ins.engine import Engine
from limner.stand_ins.together.loras import LoraProblem, fetch_lora, fitting_lora

__all__ = ["TogetherStandIn"]

MOST_AT_ONCE = 4  # pictures in one request
MOST_STEPS = 50


class _Refused(Exception):
    """An answer that is an error: status, message, the vendor's type and code."""

    def __init__(self, status: int, message: str, code: str = "", kind: str = "invalid_request_error") -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.kind = status, message, code, kind
        self.headers: dict[str, str] = {}


class TogetherStandIn:
    """``app`` is the server. Its state is plain attributes, which tests may change at any time.

    ``rows`` are the models it serves, by name; ``paid`` has an entry for every picture drawn; ``images`` holds the
    pictures given as addresses. ``rate`` and ``burst`` limit the requests a second (None: no limit); ``banned`` are
    words that its content filter refuses; ``credit`` how many pictures the account still has (None: any number);
    ``seconds`` how long a picture takes; ``lenient`` leaves ``object`` and ``type`` out of answers, as the vendor's own
    examples do; ``always_url`` gives addresses whatever was asked for.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        tokens: Mapping[str, str] | None = None,
        rate: float | None = None,
        burst: int = 10,
        lenient: bool = False,
    ) -> None:
        self.engine = engine
        self.tokens = dict(tokens if tokens is not None else {"token": "account name"})
        self.rate, self.burst, self.lenient = rate, burst, lenient
        self.reset_digits = 3
        self.always_url = False
        self.banned: tuple[str, ...] = ("forbidden-word",)
        self.credit: int | None = None
        self.seconds = 0.0
        self.url = ""
        self.paid: list[Paid] = []
        self.images: dict[str, bytes] = {}
        self.requests: list[dict[str, Any]] = []
        self.refused_by_rate = 0
        offered = [row for row in stand_in_rows().values() if row.vendor == "together" and row.does == "generate"]
        offered += [row for row in find_hosted("together", "generate") if not row.withdrawn]
        self.rows: dict[str, HostedModel] = {row.model: row for row in offered}
        self._turns, self._looked = float(burst), time.monotonic()
        self.app = Starlette(
            routes=[
                Route("/v1/models", self._models),
                Route("/v1/images/generations", self._generate, methods=["POST"]),
                Route("/given/{name}", self._given),
            ],
            exception_handlers={_Refused: _as_answer},
        )

    async def _models(self, request: Request) -> Response:
        self._account(request)
        return JSONResponse([self._listed(name) for name in self.rows])

    def _listed(self, name: str) -> dict[str, Any]:
        owner, _, title = name.partition("/")
        return {
            "id": name,
            "object": "model",
            "created": 0,
            "type": "image",
            "running": False,
            "display_name": title,
            "organization": owner,
            "link": "",
            "license": "",
            "pricing": {"hourly": 0, "input": 0, "output": 0, "base": 0, "finetune": 0},
        }

    async def _generate(self, request: Request) -> Response:
        self._account(request)
        self._take_turn()
        body = await _body_of(request)
        row = self._row(body)
        wanted = _Wanted(body, row)
        if any(word.lower() in wanted.prompt.lower() for word in self.banned):
            raise _Refused(422, "The prompt or the picture may contain NSFW content. Please try again.", "nsfw_content")
        loras = [(await self._lora(path, row), scale) for path, scale in wanted.loras]
        if self.credit is not None and self.credit < wanted.n:
            raise _Refused(402, "Credit limit exceeded, please add credits to your account.", "insufficient_credits")
        pictures = await asyncio.gather(*(self._draw(row, wanted, loras, number) for number in range(wanted.n)))
        if self.credit is not None:
            self.credit -= wanted.n
        self.requests.append(body)
        reference = f"o{secrets.token_hex(8)}"
        tag = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        self.paid += [Paid("picture", f"{tag} {number}", time.time()) for number in range(wanted.n)]
        entries = [self._entry(number, data, wanted) for number, data in enumerate(pictures)]
        answer: dict[str, Any] = {"id": reference, "model": row.model, "object": "list", "data": entries}
        if self.lenient:
            answer = {"id": reference, "model": row.model, "data": entries, "timings": {"inference": self.seconds}}
        return JSONResponse(answer)

    def _account(self, request: Request) -> str:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or token not in self.tokens:
            raise _Refused(401, "Invalid API key provided.", "invalid_api_key")
        return self.tokens[token]

    def _take_turn(self) -> None:
        """A bucket of ``burst`` turns that refills at ``rate``; an empty one says when to come again."""
        if self.rate is None:
            return
        now = time.monotonic()
        self._turns = min(float(self.burst), self._turns + (now - self._looked) * self.rate)
        self._looked = now
        if self._turns >= 1:
            self._turns -= 1
            return
        self.refused_by_rate += 1
        refused = _Refused(429, "Request was rate limited.", "dynamic_request_limited", "dynamic_request_limited")
        scale = 10**self.reset_digits
        wait = math.ceil((1 - self._turns) / self.rate * scale) / scale
        refused.headers = {"x-ratelimit-reset": f"{wait:.{self.reset_digits}f}"}
        raise refused

    def _row(self, body: Mapping[str, Any]) -> HostedModel:
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise _Refused(400, "model is required", "missing_required_field")
        if name not in self.rows:
            said = f"Unable to access model {name}. Please visit the models page to view the list of supported models."
            raise _Refused(404, said, "model_not_available")
        return self.rows[name]

    async def _lora(self, path: str, row: HostedModel) -> bytes:
        try:
            return await asyncio.to_thread(fitting_lora, await fetch_lora(path), path, row)
        except LoraProblem as problem:
            raise _Refused(400, str(problem), "invalid_lora") from problem

    async def _draw(
        self, row: HostedModel, wanted: _Wanted, loras: Sequence[tuple[bytes, float]], number: int
    ) -> bytes:
        if self.seconds:
            await asyncio.sleep(self.seconds)
        drawn = await asyncio.to_thread(
            self.engine.draw,
            row.base,
            wanted.prompt,
            loras=loras,
            width=wanted.width,
            height=wanted.height,
            steps=wanted.steps,
            guidance=wanted.guidance,
            seed=wanted.seed + number,
        )
        return drawn if wanted.output_format == "png" else await asyncio.to_thread(_jpeg, drawn)

    def _entry(self, number: int, data: bytes, wanted: _Wanted) -> dict[str, Any]:
        if wanted.response_format == "base64" and not self.always_url:
            entry: dict[str, Any] = {"index": number, "type": "b64_json", "b64_json": base64.b64encode(data).decode()}
        else:
            name = f"{secrets.token_hex(16)}.{wanted.output_format}"
            self.images[name] = data
            entry = {"index": number, "type": "url", "url": f"{self.url}/given/{name}"}
        if self.lenient:
            del entry["type"]
        return entry

    async def _given(self, request: Request) -> Response:
        """A picture by its address; like the vendor's CDN it refuses who does not say what program it is."""
        if not request.headers.get("user-agent"):
            return Response("Forbidden", status_code=403)
        data = self.images.get(request.path_params["name"])
        if data is None:
            return Response("Not Found", status_code=404)
        kind = "image/png" if request.path_params["name"].endswith("png") else "image/jpeg"
        return Response(data, media_type=kind)


class _Wanted:
    """A request's values, or the vendor's defaults; refuses what the model does not take."""

    def __init__(self, body: Mapping[str, Any], row: HostedModel) -> None:
        self.prompt = _typed(body, "prompt", str, None)
        if not self.prompt.strip():
            raise _Refused(400, "prompt is required", "missing_required_field")
        lowest, highest, multiple = row.sizes
        self.width = _typed(body, "width", int, min(1024, highest))
        self.height = _typed(body, "height", int, min(1024, highest))
        for name, size in (("width", self.width), ("height", self.height)):
            if size % multiple or not lowest <= size <= highest:
                raise _Refused(
                    400, f"{name} must be a multiple of {multiple} between {lowest} and {highest}, got {size}"
                )
        self.steps = _typed(body, "steps", int, 20)
        if not 1 <= self.steps <= MOST_STEPS:
            raise _Refused(400, f"steps must be between 1 and {MOST_STEPS}, got {self.steps}")
        self.n = _typed(body, "n", int, 1)
        if not 1 <= self.n <= MOST_AT_ONCE:
            raise _Refused(400, f"n must be between 1 and {MOST_AT_ONCE}, got {self.n}")
        self.seed = _typed(body, "seed", int, secrets.randbelow(2**31) if "seed" not in body else 0)
        guidance = _typed(body, "guidance_scale", (int, float), 3.5)
        self.guidance = float(_typed(body, "guidance", (int, float), guidance))
        self.response_format = _one_of(body, "response_format", ("base64", "url"), "url")
        self.output_format = _one_of(body, "output_format", ("jpeg", "png"), "jpeg")
        for name, kind in (("negative_prompt", str), ("disable_safety_checker", bool), ("reference_images", list)):
            _typed(body, name, kind, kind())
        self.loras = _loras(body, row)


def _loras(body: Mapping[str, Any], row: HostedModel) -> list[tuple[str, float]]:
    entries = _typed(body, "image_loras", list, [])
    if len(entries) > row.most_loras:
        raise _Refused(400, f"at most {row.most_loras} image_loras are supported, got {len(entries)}")
    found = []
    for entry in entries:
        if not isinstance(entry, Mapping) or not isinstance(entry.get("path"), str):
            raise _Refused(400, "image_loras: each entry needs a path and a scale")
        found.append((entry["path"], float(_typed(entry, "scale", (int, float), None))))
    return found


def _typed(body: Mapping[str, Any], name: str, kind: Any, default: Any) -> Any:
    value = body.get(name, default)
    wrong_flag = isinstance(value, bool) and kind is not bool
    if wrong_flag or not isinstance(value, kind):
        raise _Refused(400, f"{name} is missing or of the wrong type", "invalid_type")
    return value


def _one_of(body: Mapping[str, Any], name: str, known: tuple[str, ...], default: str) -> str:
    value = _typed(body, name, str, default)
    if value not in known:
        raise _Refused(400, f"{name} must be one of {', '.join(known)}, got {value}")
    return str(value)


async def _body_of(request: Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise _Refused(400, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise _Refused(400, "the body is no object")
    return body


def _jpeg(png: bytes) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").save(out, format="JPEG", quality=95)
    return out.getvalue()


async def _as_answer(_: Request, refused: Exception) -> Response:
    assert isinstance(refused, _Refused)  # noqa: S101 - starlette calls it for nothing else
    error = {"message": refused.message, "type": refused.kind, "param": None, "code": refused.code or None}
    return JSONResponse({"error": error}, status_code=refused.status, headers=refused.headers)
