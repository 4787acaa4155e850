"""A Together stand-in on a real socket, loras on another, and the generator wired to both."""

from __future__ import annotations

import asyncio
import atexit
import importlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.together.generator import TogetherGenerator
from limner.settings import Settings
from limner.stand_ins.catalog import write_catalog
from limner.stand_ins.serving import serve
from limner.stand_ins.together.server import TogetherStandIn
from limner.types import LoraUse
from limner.vendors.http import limiter
from tests.servers.contracts import Validated
from tests.servers.orders import generation_order
from tests.servers.quick_engine import QuickEngine, quick_lora

__all__ = ["TOKEN", "Shelf", "TogetherBench", "together_bench"]

TOKEN = "tgp_planted_token_of_ann"


@dataclass
class Shelf:
    """Serves files by path, to anyone; ``private`` paths want an account."""

    files: dict[str, bytes] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    url: str = ""
    asked: list[str] = field(default_factory=list)

    @property
    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._give)])

    async def _give(self, request: Request) -> Response:
        path = request.path_params["path"]
        self.asked.append(path)
        if path in self.private:
            return Response(status_code=401)
        if path in self.files:
            return Response(self.files[path])
        if path.startswith("api/models/"):
            repo = path.removeprefix("api/models/")
            names = [name.removeprefix(f"{repo}/resolve/main/") for name in self.files if name.startswith(f"{repo}/")]
            if names:
                return JSONResponse({"siblings": [{"rfilename": name} for name in names]})
        if any(name.startswith(f"{path}/") for name in self.files):
            return Response("a page", media_type="text/html")
        return Response(status_code=404)


class Door:
    """One socket for all tests of a run, behind which each test puts a server of its own: starting one takes time."""

    url = ""
    inside: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self.inside(scope, receive, send)


@cache
def doors() -> tuple[Door, Door]:
    opened = Door(), Door()
    for door in opened:
        serving = serve(door, door)
        serving.__enter__()
        atexit.register(serving.__exit__, None, None, None)
    return opened


@dataclass
class TogetherBench:
    stand_in: TogetherStandIn
    checked: Validated
    shelf: Shelf
    settings: Settings

    @property
    def generator(self) -> TogetherGenerator:
        return TogetherGenerator(self.settings)

    def lora(self, name: str = "rex", *, base: str = "limner-tiny", seed: int = 1, scale: float = 0.8) -> LoraUse:
        """A lora of a base, on the shelf."""
        data = quick_lora(base, 4, bytes([seed]))
        self.shelf.files[f"{name}.safetensors"] = data
        return LoraUse(
            digest=f"{seed:064x}",
            scale=scale,
            name=f"{name}@v1",
            url=f"{self.shelf.url}/{name}.safetensors",
            base=base,
            byte_size=len(data),
            naming="diffusers",
        )

    def order(self, *loras: LoraUse, **changes: Any) -> GenerationOrder:
        return generation_order(*loras, **changes)

    def draw(self, order: GenerationOrder) -> list[Drawn]:
        """All pictures that come, by index; what is raised at the end comes through."""
        return asyncio.run(collect(self.generator, order, []))


async def collect(generator: TogetherGenerator, order: GenerationOrder, into: list[Drawn]) -> list[Drawn]:
    async for drawn in generator.draw(order):
        into.append(drawn)  # noqa: PERF401 - what came before a failure is wanted
    return sorted(into, key=lambda drawn: drawn.index)


@pytest.fixture
def together_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherBench]:
    folder = write_catalog(tmp_path / "catalog")
    rows, bases = (importlib.import_module(f"limner.catalog.{name}") for name in ("hosted", "bases"))
    monkeypatch.setattr(rows, "_own", [folder])
    monkeypatch.setattr(bases, "_own", [folder])
    bases.bases.cache_clear()
    monkeypatch.setattr(limiter, "_limiters", {})
    monkeypatch.setenv("TOGETHER_API_KEY", TOKEN)
    stand_in, shelf = TogetherStandIn(QuickEngine(), tokens={TOKEN: "ann"}), Shelf()
    checked = Validated(stand_in.app, "together", under="/v1", except_for=("ModelInfo",))
    for door, inside, told in zip(doors(), (checked, shelf.app), (stand_in, shelf), strict=True):
        door.inside, told.url = inside, door.url
    settings = Settings(home=tmp_path / "home", together_url=stand_in.url, huggingface_url=shelf.url)
    yield TogetherBench(stand_in, checked, shelf, settings)
    bases.bases.cache_clear()
