"""Routes: every way from photos to pictures, by what back ends say of themselves and the catalog's rows.

A route is a trainer, a hub where the lora must be fetched from one, and a generator. Nobody is asked over the network:
whether a vendor still lists a model is asked right before it is used.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner import plugins
from limner.catalog import find_base
from limner.catalog.hosted import HostedModel, find_hosted, hosted
from limner.errors import LimnerError
from limner.hubs.granting import Granting
from limner.money.prices import estimate_pictures, estimate_training, usd
from limner.money.sums import total
from limner.operations.home.workspace import Workspace
from limner.operations.subjects import queries as subject_queries
from limner.records import Route, RouteStep
from limner.settings import Settings
from limner.training.recipe import preset
from limner.types import BackEnd, Base, Estimate, Reach, SubjectKind

__all__ = ["PICTURES", "alternatives", "routes"]

PICTURES = 10
"""How many pictures a route's price includes, of the base's usual size and steps."""
PRESET = "balanced"
BIG_BASE = 1_000_000_000  # parameters; larger ones want a GPU


@dataclass(frozen=True, slots=True)
class _Part:
    """One back end as a part of a route: its row of the catalog if it has one, what it needs, and why it never can."""

    about: BackEnd
    row: HostedModel | None
    needs: tuple[str, ...]
    never: tuple[str, ...]
    estimate: Estimate
    grants: bool = False

    def step(self, stage: str) -> RouteStep:
        about, estimate = self.about, self.estimate
        model = self.row.model if self.row is not None else ""
        return RouteStep(
            stage=stage,
            back_end=about.name,
            title=about.title,
            vendor=about.vendor,
            model=model,
            cost=estimate.amount,
            seconds=estimate.seconds,
            certain=estimate.certain,
            ready=not self.needs,
            note=estimate.note,
        )


def routes(workspace: Workspace, *, base: str = "", subject: str = "") -> list[Route]:
    """Every route for a base (the default one if none is named): those that work here first, then the cheapest.

    A subject makes the training that of its kind. NotFound: there is no such subject; InputRefused: no such base.
    """
    kind = None
    if subject:
        with workspace.database.read() as session:
            kind = SubjectKind(subject_queries.find_subject_row(session, subject).kind)
    row = find_base(base or workspace.settings.base)
    trainers, hubs, generators = (_parts(workspace, kind, does, row) for does in ("train", "keep", "generate"))
    found = [
        _route(row, kind, trainer, hub, generator, reach)
        for trainer in trainers
        for generator in generators
        for hub, reach in _ways(trainer, hubs, generator)
    ]
    return sorted(found, key=_order)


def _order(route: Route) -> tuple[Any, ...]:
    seconds = float("inf") if route.seconds is None else route.seconds
    return not route.works, not route.possible, route.cost, seconds, route.trainer, route.hub, route.generator


def alternatives(workspace: Workspace, base: str, vendor: str = "", *, most: int = 3) -> str:
    """A sentence for errors: what works here for a base without a vendor, cheapest first; "" if nothing does."""
    able = [
        f"{' → '.join(filter(None, (route.trainer, route.hub, route.generator)))} (about {usd(route.cost)})"
        for route in routes(workspace, base=base)
        if route.works and not (vendor and vendor in {step.vendor for step in route.steps})
    ]
    return f"What works for {base}: {', '.join(able[:most])}." if able else ""


# --- parts ------------------------------------------------------------------------------------------------------


def _parts(workspace: Workspace, kind: SubjectKind | None, does: str, base: Base) -> list[_Part]:
    """All installed back ends of one sort; one that cannot be loaded is none, as `limner doctor` says."""
    group = {"train": "limner.trainers", "keep": "limner.hubs", "generate": "limner.generators"}[does]
    found = []
    for name in plugins.names(group):
        try:
            end = workspace.back_ends.of(group, name)
            about: BackEnd = end.describe()
        except LimnerError:
            continue
        row, missing = (None, "") if does == "keep" else _row(about, does, base)
        never = [missing] if missing else []
        needs = tuple(f"{about.title} needs {need.name}: {need.how_to_get}" for need in about.needs if not need.met)
        if does != "keep" and not about.vendor and base.parameters > BIG_BASE and not _has_gpu(workspace.settings):
            never.append(f"{about.title} has no GPU, and on a CPU {base.title} would take days.")
        estimate = Estimate() if does == "keep" or missing else _estimate(about, row, kind, does, base)
        found.append(_Part(about, row, needs, tuple(never), estimate, isinstance(end, Granting)))
    return found


def _has_gpu(settings: Settings) -> bool:
    if settings.device == "cpu":
        return False
    return Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or sys.platform == "darwin"


def _row(about: BackEnd, does: str, base: Base) -> tuple[HostedModel | None, str]:
    """The vendor's model that would be taken for a base, and why there is none."""
    verb = "trains" if does == "train" else "draws"
    rows = find_hosted(about.vendor, does, base=base.id) if about.vendor else []
    rows = [row for row in rows if not about.models or row.model in about.models or row.withdrawn]
    if rows and not rows[0].withdrawn:
        return rows[0], ""
    if rows:
        return rows[0], f"{about.title} took {rows[0].model} off on {rows[0].withdrawn}."
    listed = any(row.vendor == about.vendor and row.does == does for row in hosted().values())
    if listed or (about.bases and base.id not in about.bases):
        return None, f"{about.title} {verb} nothing of {base.id}."
    return None, ""


def _estimate(about: BackEnd, row: HostedModel | None, kind: SubjectKind | None, does: str, base: Base) -> Estimate:
    # What has no row of the catalog is priced by what it says of itself.
    row = row or HostedModel(about.name, about.vendor, does, "", base.id, about.price, "", "")
    if does == "train":
        steps = preset(PRESET, base, kind).steps
        return estimate_training(row, steps=min(steps, row.most_steps or steps))
    size = min(base.size, row.sizes[1])
    steps = min(base.steps, row.most_steps or base.steps)
    return estimate_pictures(row, width=size, height=size, steps=steps, count=PICTURES)


# --- chains -----------------------------------------------------------------------------------------------------


def _ways(trainer: _Part, hubs: list[_Part], generator: _Part) -> Iterator[tuple[_Part | None, Reach | None]]:
    """How the lora gets from the trainer to the generator: (hub or None, how); (hub, None) where it cannot."""
    reach = generator.about.reach
    same = bool(trainer.about.vendor) and trainer.about.vendor == generator.about.vendor
    if Reach.FILE in reach:
        yield None, Reach.FILE
        return
    if same and Reach.HOSTED in reach:
        yield None, Reach.HOSTED
        return
    for hub in hubs:
        yield hub, next((way for way in reach if way in hub.about.reach), None)


def _route(
    base: Base, kind: SubjectKind | None, trainer: _Part, hub: _Part | None, generator: _Part, reach: Reach | None
) -> Route:
    parts = [("train", trainer), *([("publish", hub)] if hub is not None else []), ("generate", generator)]
    never = [reason for _, part in parts for reason in part.never]
    # A vendor's account may be lacking at several steps: it is said once.
    needs = list(dict.fromkeys(reason for _, part in parts for reason in part.needs))
    sees_lora, notes = generator.about.title if generator.about.vendor else "nobody but this machine", []
    if hub is not None and reach is None:
        never.append(f"{generator.about.title} cannot fetch a lora from {hub.about.title}.")
    elif hub is not None and hub.grants:
        sees_lora = f"{hub.about.title}; {generator.about.title}, for as long as it draws"
    elif hub is not None:
        sees_lora = f"anyone: it must be public on {hub.about.title}"
        if kind is SubjectKind.PERSON:
            notes.append("A person's lora becomes public on this route: that needs the person's consent.")
    estimate = total(part.estimate for _, part in parts if part is not hub)
    return Route(
        base=base.id,
        trainer=trainer.about.name,
        hub=hub.about.name if hub is not None else "",
        generator=generator.about.name,
        works=not never and not needs,
        possible=not never,
        reasons=(*never, *needs),
        cost=estimate.amount,
        certain=estimate.certain,
        seconds=estimate.seconds,
        sees_photos=trainer.about.sees_photos,
        sees_lora=sees_lora,
        steps=tuple(_steps(parts, hub)),
        pictures=PICTURES,
        notes=tuple(notes),
    )


def _steps(parts: list[tuple[str, _Part]], hub: _Part | None) -> Iterator[RouteStep]:
    for stage, part in parts:
        step = part.step(stage)
        yield replace(step, note="publishing is free") if part is hub else step
