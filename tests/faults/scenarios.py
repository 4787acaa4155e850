"""What is to go wrong in which run: every fault at some point, every point with some fault, chosen by seed."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.faults.states import STATES, State
from tests.faults.world import KILLS, Kill
from tests.servers.faults import BEFORE, KINDS, Fault

__all__ = ["ROUTES", "Point", "Route", "Scenario", "draw_scenarios", "points_of"]


@dataclass(frozen=True)
class Route:
    """A way from photos to pictures."""

    trainer: str
    generator: str
    base: str = "limner-tiny"

    @property
    def name(self) -> str:
        return f"{self.trainer} → huggingface → {self.generator}" + (
            "" if self.base == "limner-tiny" else f" ({self.base})"
        )


ROUTES = (
    Route("replicate", "together"),
    Route("fal", "together"),
    Route("fal", "fal"),
    Route("fal", "replicate"),
    Route("fal", "together", "flux2-random"),
)


@dataclass(frozen=True, order=True)
class Point:
    """A place where a route can be struck: the ``nth`` request of a kind that it makes at a vendor."""

    vendor: str
    method: str
    path: str
    nth: int = 1

    @property
    def place(self) -> str:
        """The point in words, for tables."""
        shown = re.sub(r"\[\^/\]\+", "…", self.path.strip("^$")).replace("\\", "")
        return f"{self.method} {shown}" + (f" (number {self.nth})" if self.nth > 1 else "")


@dataclass(frozen=True)
class Scenario:
    """One run: its route, and what goes wrong where."""

    number: int
    route: Route
    faults: tuple[tuple[str, Fault], ...] = ()
    kills: tuple[tuple[str, Kill], ...] = ()
    states: tuple[State, ...] = ()
    places: tuple[str, ...] = field(default=())

    @property
    def kinds(self) -> tuple[str, ...]:
        """The names of what goes wrong."""
        return (
            *(fault.kind for _, fault in self.faults),
            *(kill.kind for _, kill in self.kills),
            *(state.name for state in self.states),
        )


UNFIT = {"flipped", "edited", "slow"}
"""Not here: TLS forbids the first, the second needs words of its own, the third costs time and does no harm."""
SEED = 20261124


def points_of(requests: Sequence[tuple[str, str, str]]) -> list[Point]:
    """The points of a route, from the requests of a run that was left alone: each kind of request, first and second."""
    seen: dict[tuple[str, str, str], int] = {}
    for vendor, method, path in requests:
        key = (vendor, method, pattern_of(path))
        seen[key] = seen.get(key, 0) + 1
    return sorted(Point(*key, nth) for key, times in seen.items() for nth in range(1, min(times, 2) + 1))


ID = re.compile(
    r"(?:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}|[0-9a-f]{7,64}|[a-z2-7]{26}|[A-Za-z0-9_-]{22}|\d+)(?P<rest>_[a-z][a-z_.]+)?"
)
"""What the vendors call their jobs, files and revisions, perhaps followed by a name."""


def pattern_of(path: str) -> str:
    """A path as a regular expression, where ids stand for any id."""
    parts = []
    for part in path.split("/"):
        found = ID.fullmatch(part)
        parts.append(f"[^/]+{re.escape(found['rest'] or '')}" if found else re.escape(part))
    return "^" + "/".join(parts) + "$"


def draw_scenarios(points: dict[Route, list[Point]], runs: int, seed: int = SEED) -> list[Scenario]:
    """``runs`` scenarios: in turn a fault on the way, a kill, both, and a state; kinds and points take turns."""
    chance = random.Random(seed)
    routes = list(points)
    kinds = _shuffled_for_ever([kind for kind in KINDS if kind not in UNFIT], chance)
    kills = _shuffled_for_ever(list(KILLS), chance)
    places = {route: _shuffled_for_ever(found, chance) for route, found in points.items()}
    taken: Counter[State] = Counter()
    scenarios = []
    for number in range(runs):
        route = routes[number % len(routes)]
        turn = (number // len(routes)) % 7
        faults: list[tuple[str, Fault]] = []
        killing: list[tuple[str, Kill]] = []
        setting: list[State] = []
        where: list[str] = []
        if turn in (0, 1, 3):
            kind, point = next(kinds), next(places[route])
            faults.append((point.vendor, _fault(kind, point, chance)))
            where.append(f"{point.vendor}: {point.place}")
        if turn in (2, 3, 4):
            kill, point = next(kills), next(places[route])
            killing.append((point.vendor, Kill(kill, point.method, point.path, point.nth)))
            where.append(f"{point.vendor}: {point.place}")
        if turn >= 5:
            # the one that had the fewest turns so far
            setting.append(min((one for one in STATES if one.concerns(route)), key=lambda one: taken[one]))
            taken[setting[-1]] += 1
            where.append(setting[-1].vendor)
        scenarios.append(Scenario(number, route, tuple(faults), tuple(killing), tuple(setting), tuple(where)))
    return scenarios


def _fault(kind: str, point: Point, chance: random.Random) -> Fault:
    """A fault at a point: once, several times or until the user steps in."""
    times = chance.choice([1, 1, 2, 0]) if kind in BEFORE else 1
    if kind == "revoked":
        times = 0
    if kind == "hang":
        times = 1
    if kind.startswith("throttled"):
        # who is told to wait waits, for as long as it takes
        times = chance.choice([1, 3, 8])
    seconds = {"skewed": chance.choice([-86400.0, 86400.0]), "hang": 60.0, "lost-hang": 60.0}.get(kind)
    if seconds is None:
        seconds = float(chance.choice([0, 1, 2]))
    return Fault(kind, point.method, point.path, point.nth, times, seconds)


def _shuffled_for_ever(things: list[Any], chance: random.Random) -> Any:
    """All things in random order, again and again, so that each has its turn."""
    while things:
        order = list(things)
        chance.shuffle(order)
        yield from order
