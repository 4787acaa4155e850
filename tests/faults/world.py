"""The four vendors in the campaign's own process: they outlive the workers that are killed, and remember payments."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.catalog.bases import use_folder as use_bases
from limner.catalog.hosted import use_folder as use_hosted
from limner.stand_ins.catalog import write_catalog
from limner.stand_ins.rehearsal import ACCOUNT, TOKENS
from limner.stand_ins.serving import App, serve
from tests.servers.faults import Fault, Faulty, Message, Receive, Send
from tests.servers.quick_engine import QuickEngine

__all__ = ["KILLS", "VENDORS", "Kill", "Served", "World", "serving"]

VENDORS = ("replicate", "fal", "huggingface", "together")

KILLS = {
    "kill-before": "the worker is killed when its request arrives; the vendor never handles it",
    "kill-handled": "the vendor handles the request; the worker is killed before the answer goes out",
    "kill-answered": "the worker is killed right after the answer was sent",
}


@dataclass(frozen=True)
class Kill:
    """SIGKILL to the worker at the ``nth`` request that matches; like a Fault, but it strikes once."""

    kind: str
    method: str
    path: str
    nth: int = 1


class Switch:
    """An app that can be changed while it is served: every run has vendors of its own at the same address."""

    def __init__(self) -> None:
        self.app: App | None = None
        self.url = ""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self.app is not None:
            await self.app(scope, receive, send)


class Deadly:
    """Kills a worker at a request. ``victim`` gives the process id of the worker that lives now."""

    def __init__(self, app: App, kills: Sequence[Kill], victim: Callable[[], int | None]) -> None:
        self.app, self.victim = app, victim
        self.struck: list[Kill] = []
        self._left = [(kill, Fault("slow", kill.method, kill.path)) for kill in kills]
        self._seen: dict[int, int] = {}
        self._lock = threading.Lock()

    def _due(self, method: str, path: str) -> Kill | None:
        with self._lock:
            for number, (kill, where) in enumerate(self._left):
                if where.matches(method, path):
                    self._seen[number] = self._seen.get(number, 0) + 1
                    if self._seen[number] == kill.nth:
                        self.struck.append(kill)
                        return kill
        return None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        kill = self._due(scope["method"], scope["path"])
        if kill is None:
            await self.app(scope, receive, send)
            return

        async def swallow(message: Message) -> None:
            del message

        if kill.kind == "kill-answered":
            await self.app(scope, receive, send)
        elif kill.kind == "kill-handled":
            # Faulty would write past what swallows the answer: the stand-in itself is asked
            inner = self.app.app if isinstance(self.app, Faulty) else self.app
            await inner(scope, receive, swallow)
        process = self.victim()
        if process is not None:
            os.kill(process, signal.SIGKILL)


@dataclass
class World:
    """The vendors of one run. ``faulty`` and ``deadly`` are what stands in front of each, by the vendor's name."""

    replicate: Any
    fal: Any
    huggingface: Any
    together: Any
    faulty: dict[str, Faulty] = field(default_factory=dict)
    deadly: dict[str, Deadly] = field(default_factory=dict)

    def failed(self, what: str) -> int:
        """How many trainings or pictures were paid that the vendor did not bring to a good end: to be bought anew."""
        jobs = self.replicate.trainings if what == "training" else self.replicate.predictions
        paid = {entry.tag for entry in self.replicate.paid}
        return sum(job.ended and job.status != "succeeded" and job.id in paid for job in jobs.values())

    def requests(self) -> list[tuple[str, str, str]]:
        """All requests of the run so far: vendor, method, path."""
        return [(vendor, *one) for vendor in VENDORS for one in self.faulty[vendor].requests]

    def calm(self) -> None:
        """The disturbance is over: no more faults on the way."""
        for one in self.faulty.values():
            one.clear()

    def struck(self) -> int:
        """How many faults and kills came to pass."""
        return sum(len(one.hits) for one in self.faulty.values()) + sum(len(one.struck) for one in self.deadly.values())

    def paid(self) -> list[tuple[str, str]]:
        """Everything that a vendor would charge for: vendor, and what."""
        return [(vendor, entry.what) for vendor in VENDORS for entry in getattr(self, vendor).paid]


class Served:
    """Where the vendors are served, for all runs of a campaign."""

    def __init__(self, catalog: Path, switches: dict[str, Switch]) -> None:
        self.catalog, self.switches = catalog, switches

    def settings(self) -> dict[str, str]:
        """The settings by which Limner reaches them, as environment variables, and the tokens."""
        urls = {name: switch.url for name, switch in self.switches.items()}
        return {
            "LIMNER_REPLICATE_URL": urls["replicate"],
            "LIMNER_FAL_QUEUE_URL": f"{urls['fal']}/queue",
            "LIMNER_FAL_REST_URL": f"{urls['fal']}/rest",
            "LIMNER_FAL_API_URL": f"{urls['fal']}/api/v1",
            "LIMNER_HUGGINGFACE_URL": urls["huggingface"],
            "LIMNER_TOGETHER_URL": urls["together"],
            "LIMNER_CATALOG": str(self.catalog),
            "HF_HUB_DISABLE_XET": "1",
            "HF_ENDPOINT": urls["huggingface"],
            **TOKENS,
        }

    def new_world(
        self,
        faults: Sequence[tuple[str, Fault]] = (),
        kills: Sequence[tuple[str, Kill]] = (),
        victim: Callable[[], int | None] = lambda: None,
        checked: Callable[[str, App], App] = lambda _, app: app,
    ) -> World:
        """Fresh vendors for one run, with what is to go wrong at each (vendor, fault).

        ``checked`` may put something around a vendor's app, closest to it.
        """
        from limner.stand_ins.fal.server import FalStandIn
        from limner.stand_ins.hub.server import HuggingFaceStandIn
        from limner.stand_ins.replicate.server import ReplicateStandIn
        from limner.stand_ins.together.server import TogetherStandIn

        engine = QuickEngine(most_steps=3)
        world = World(
            ReplicateStandIn(engine, tokens={TOKENS["REPLICATE_API_TOKEN"]: ACCOUNT}),
            FalStandIn(engine, tokens={TOKENS["FAL_KEY"]: ACCOUNT}),
            HuggingFaceStandIn(engine, tokens={TOKENS["HF_TOKEN"]: ACCOUNT}),
            TogetherStandIn(engine, tokens={TOKENS["TOGETHER_API_KEY"]: ACCOUNT}),
        )
        for vendor, switch in self.switches.items():
            stand_in = getattr(world, vendor)
            stand_in.url = switch.url
            faulty = Faulty(
                checked(vendor, stand_in.app), [fault for name, fault in faults if name == vendor], style=vendor
            )
            deadly = Deadly(faulty, [kill for name, kill in kills if name == vendor], victim)
            world.faulty[vendor], world.deadly[vendor] = faulty, deadly
            switch.app = deadly
        return world


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    """Serve the vendors' addresses until the block ends."""
    catalog = write_catalog(folder / "catalog")
    use_bases(catalog)
    use_hosted(catalog)
    switches = {vendor: Switch() for vendor in VENDORS}
    with ExitStack() as stack:
        for switch in switches.values():
            stack.enter_context(serve(switch, switch))
        yield Served(catalog, switches)
