"""The Hub's router to inference providers: it draws with a public lora of one file, and charges for each picture."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import secrets
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from limner.catalog import bases
from limner.catalog.hosted import HostedModel, find_hosted
from limner.stand_ins.counting import Paid
from limner.stand_ins.hub.answers import refusal
from limner.stand_ins.hub.repos import HubRepo
from limner.stand_ins.hub.state import HubState

__all__ = ["Router"]

_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+\.safetensors)$")


class Router:
    """``providers`` says who runs a model of the catalog, fal-ai unless named; ``no_credit`` refuses every picture."""

    def __init__(self, hub: HubState) -> None:
        self.hub = hub
        self.providers: dict[str, str] = {}
        self.no_credit = False
        self.status = "live"
        self._pictures: dict[str, bytes] = {}

    def routes(self, route: Any) -> list[Any]:
        """The addresses of the router, below the hub's own."""
        return [
            route("/router/fal-ai/{model:path}", self._fal, "POST"),
            route("/router/replicate/v1/models/{model:path}/predictions", self._replicate, "POST"),
            route("/router/pictures/{name}.png", self._picture, "GET"),
        ]

    def mapping(self, repo: HubRepo) -> dict[str, Any]:
        """Which providers run a lora: by its card's base, and only where it is public and of one file."""
        files = [path for path in repo.main.files if path.endswith(".safetensors") and "/" not in path]
        if repo.private or len(files) != 1:
            return {}
        base = repo.card(repo.main).get("base_model")
        return {
            self._provider(row): {
                "status": self.status,
                "providerId": row.model,
                "task": "text-to-image",
                "adapter": "lora",
                "adapterWeightsPath": files[0],
                "type": "tag-filter",
            }
            for row in self._rows()
            if base in (bases()[row.base].repo, row.base)
        }

    def _rows(self) -> list[HostedModel]:
        return [row for row in find_hosted("huggingface", "generate") if not row.withdrawn]

    def _provider(self, row: HostedModel) -> str:
        return self.providers.get(row.model, "fal-ai")

    async def _fal(self, request: Request) -> Response:
        body = await request.json()
        row = self._allowed(request)
        size = body.get("image_size") or {}
        picture = await self._draw(
            row,
            body["prompt"],
            [(self._weights(one["path"]), float(one.get("scale", 1))) for one in body.get("loras", [])],
            width=size.get("width"),
            height=size.get("height"),
            steps=body.get("num_inference_steps"),
            guidance=body.get("guidance_scale"),
            seed=body.get("seed"),
        )
        url = self._keep(request, picture, body)
        return JSONResponse({"images": [{"url": url, "content_type": "image/png"}], "seed": body.get("seed")})

    async def _replicate(self, request: Request) -> Response:
        given = (await request.json())["input"]
        row = self._allowed(request)
        name = given["lora_weights"].partition("://")[2].partition("/")[2]
        repo = self.hub.repos.get(name.lower())
        if repo is None or repo.private:
            raise refusal(422, f"Cannot fetch {given['lora_weights']}")
        weights = next(repo.content(one) for path, one in repo.main.files.items() if path.endswith(".safetensors"))
        picture = await self._draw(
            row,
            given["prompt"],
            [(weights, float(given.get("lora_scale", 1)))],
            steps=given.get("num_inference_steps"),
            guidance=given.get("guidance"),
            seed=given.get("seed"),
        )
        url = self._keep(request, picture, given)
        return JSONResponse({"id": secrets.token_hex(8), "status": "succeeded", "output": [url]}, 201)

    def _allowed(self, request: Request) -> HostedModel:
        if not self.hub.account(request):
            raise refusal(401, "Invalid username or password.")
        if self.no_credit:
            raise refusal(402, "You have exceeded your monthly included credits for Inference Providers.")
        model = request.path_params["model"]
        row = next((row for row in self._rows() if row.model == model), None)
        if row is None:
            raise refusal(404, f"Model {model} is not served")
        return row

    def _weights(self, address: str) -> bytes:
        """What the provider fetches without any token."""
        match = _RESOLVE.search(address)
        repo = self.hub.repos.get(match[1].lower()) if match else None
        if match is None or repo is None or repo.private or repo.gated:
            raise refusal(422, f"Could not load the lora from {address}")
        commit = repo.find(match[2])
        if commit is None or match[3] not in commit.files:
            raise refusal(422, f"Could not load the lora from {address}")
        return repo.content(commit.files[match[3]])

    async def _draw(self, row: HostedModel, prompt: str, loras: list[tuple[bytes, float]], **given: Any) -> bytes:
        base = bases()[row.base]
        return await asyncio.to_thread(
            self.hub.engine.draw,
            row.base,
            prompt,
            loras=loras,
            width=given.get("width") or base.size,
            height=given.get("height") or base.size,
            steps=given.get("steps") or base.steps,
            guidance=base.guidance if given.get("guidance") is None else given["guidance"],
            seed=secrets.randbelow(2**31) if given.get("seed") is None else given["seed"],
        )

    def _keep(self, request: Request, picture: bytes, asked: dict[str, Any]) -> str:
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
        self.hub.paid.append(Paid("picture", digest, time.time()))
        name = secrets.token_hex(12)
        self._pictures[name] = picture
        return f"{request.base_url}router/pictures/{name}.png"

    async def _picture(self, request: Request) -> Response:
        data = self._pictures.get(request.path_params["name"])
        if data is None:
            raise refusal(404, "Expired")
        return Response(data, media_type="image/png")
