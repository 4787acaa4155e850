"""A studio whose vendors are all four stand-ins on real sockets, and whose jobs a test runs in its own process."""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from limner import Studio
from limner.generation.replicate import generator as replicate_generator
from limner.money import payments
from limner.operations.jobs import lifecycle, worker
from limner.operations.trainings import job as training_job
from limner.records import Job
from limner.settings import Settings
from limner.stand_ins.rehearsal import Rehearsal, rehearsal
from limner.stand_ins.serving import App
from limner.training.fal import following
from limner.training.replicate import trainer as replicate_trainer
from limner.vendors.fal import client as fal
from limner.vendors.http import client as http
from limner.vendors.http import limiter
from limner.vendors.replicate import client as replicate
from tests.operations.conftest import draw_photos
from tests.servers.faults import Fault, Faulty, Message, Receive, Send
from tests.servers.quick_engine import QuickEngine
from tests.waiting import PATIENCE

__all__ = ["SMALL", "TINY", "Request", "ServicesBench", "open_bench"]

TINY: Mapping[str, Any] = {"settings": {"steps": 20, "rank": 4, "alpha": 4.0, "resolution": 64, "warmup_steps": 0}}
"""Options of a training that the stand-ins do at once."""
SMALL: Mapping[str, Any] = {"width": 64, "height": 64, "steps": 2, "seed": 7}


@dataclass
class Request:
    """What came to a vendor: all of it."""

    method: str
    path: str
    query: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytearray


class Recorder:
    """ASGI middleware that keeps every request whole, the body as it is read."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.requests: list[Request] = []

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        one = Request(scope["method"], scope["path"], scope["query_string"], list(scope["headers"]), bytearray())
        self.requests.append(one)

        async def keeping() -> Message:
            message = await receive()
            one.body += message.get("body", b"")
            return message

        await self.app(scope, keeping, send)


class Queue:
    """Stands for the workflow engine: the tests run a submitted job's stages themselves."""

    def __init__(self) -> None:
        self.waits: dict[str, bool] = {}

    def submit(self, session: object, job: str, stages: int, *, waits: bool = False) -> None:
        assert stages >= 1
        self.waits[job] = waits

    def close(self) -> None:
        pass


@dataclass
class ServicesBench:
    """``faulty`` and ``heard`` are what stands in front of each vendor, by its name."""

    vendors: Rehearsal
    settings: Settings
    folder: Path
    faulty: dict[str, Faulty] = field(default_factory=dict)
    heard: dict[str, Recorder] = field(default_factory=dict)
    queue: Queue = field(default_factory=Queue)

    def __post_init__(self) -> None:
        self.studio = self.open()
        self.photos = draw_photos(self.folder / "photos")

    def open(self, **changes: Any) -> Studio:
        """Another studio over the same home, with other settings."""
        studio = Studio(settings=self.settings.model_copy(update=changes))
        studio._workspace.__dict__["submitter"] = self.queue
        return studio

    def subject(self, slug: str = "zib", **options: Any) -> str:
        self.studio.subjects.add(slug, **{"kind": "character", "class_word": "robot", "trigger": "zibbo", **options})
        return slug

    def run(self, job: Job, studio: Studio | None = None) -> Job:
        """Do a job as the worker does: stage after stage, until one fails."""
        it = studio or self.studio
        database = it._workspace.database
        do_stage = worker._runner(it._workspace)

        async def whole() -> None:
            for number in range(len(job.stage_names)):
                if not await do_stage(job.id, number):
                    break
            await asyncio.to_thread(lifecycle.end_job, database, job.id)

        asyncio.run(whole())
        return it.jobs.get(job.id)

    @contextmanager
    def running(self, job: Job) -> Iterator[threading.Thread]:
        """Do a job in a thread while the block looks at it and meddles."""
        thread = threading.Thread(target=self.run, args=(job,), daemon=True)
        thread.start()
        yield thread
        thread.join(PATIENCE)
        assert not thread.is_alive()

    def import_lora(self, slug: str, data: bytes, **options: Any) -> str:
        """A lora of a subject of its own, from a file; its name."""
        path = self.folder / f"{slug}.safetensors"
        path.write_bytes(data)
        return self.studio.loras.adopt(
            path, subject=slug, **{"kind": "style", "trigger": f"trig_{slug}", **options}
        ).name

    def fault(self, vendor: str, kind: str, method: str = "*", path: str = "", **more: Any) -> None:
        self.faulty[vendor].add(Fault(kind, method, path, **more))

    @property
    def paid(self) -> dict[str, list[str]]:
        """What was paid where."""
        found = {name: [one.what for one in getattr(self.vendors, name).paid] for name in self.heard}
        return {name: what for name, what in found.items() if what}

    def posts(self, vendor: str) -> list[str]:
        """The paths of everything sent to a vendor that may change something there."""
        return [one.path for one in self.heard[vendor].requests if one.method not in ("GET", "HEAD")]


@contextmanager
def open_bench(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    between: Callable[[str, App], App] = lambda _, app: app,
    **more: Any,
) -> Iterator[ServicesBench]:
    """A bench on fresh stand-ins, where no wait of ours takes any time. ``more`` are settings.

    ``between`` puts something between the faults and a vendor, by its name.
    """
    rows, bases = (importlib.import_module(f"limner.catalog.{name}") for name in ("hosted", "bases"))
    monkeypatch.setattr(rows, "_own", [])
    monkeypatch.setattr(bases, "_own", [])
    bases.bases.cache_clear()
    monkeypatch.setattr(limiter, "_limiters", {})
    monkeypatch.setattr("limner.vendors.huggingface.hub.PAUSE", lambda seconds: None)
    monkeypatch.setattr("limner.vendors.http.public_web.PAUSE", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: None))
    monkeypatch.setattr(http, "pause", lambda seconds: asyncio.sleep(0))
    monkeypatch.setattr(payments, "LOOKS", (0.0, 0.0))
    monkeypatch.setattr(fal, "LOOKS", (0.0, 0.0))
    monkeypatch.setattr(following, "PAUSES", (0.02, 0.05))
    monkeypatch.setattr("limner.generation.fal.generator.PAUSES", (0.005, 0.02))
    monkeypatch.setattr(replicate_generator, "LOOKS", (0.005, 0.01))
    monkeypatch.setattr(replicate_trainer, "FIRST_LOOK", 0.02)
    monkeypatch.setattr(replicate_trainer, "LAST_LOOK", 0.05)
    monkeypatch.setattr(training_job, "GLANCE_SECONDS", 0.02)
    monkeypatch.setattr(fal, "VENDOR", replace(fal.VENDOR, rate=5000.0, burst=5000))
    monkeypatch.setattr(replicate, "VENDOR", replace(replicate.VENDOR, rate=5000.0, burst=5000))
    monkeypatch.setattr(replicate, "CREATES", (5000.0, 5000))
    faulty: dict[str, Faulty] = {}
    heard: dict[str, Recorder] = {}

    def around(vendor: str, app: App) -> App:
        faulty[vendor] = Faulty(between(vendor, app), style=vendor)
        heard[vendor] = Recorder(faulty[vendor])
        return heard[vendor]

    with rehearsal(folder / "stand-ins", engine=QuickEngine(), around=around) as vendors:
        vendors.replicate.per_minute = (100_000, 100_000)
        for name, value in vendors.environment.items():
            monkeypatch.setenv(name, value)
        settings = Settings(home=folder / "home", start_worker=False, **{**vendors.settings, **more})
        bench = ServicesBench(vendors, settings, folder, faulty, heard)
        try:
            yield bench
        finally:
            bench.studio.close()
    bases.bases.cache_clear()
