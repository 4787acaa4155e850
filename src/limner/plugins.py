"""Back ends are found through Python entry points, ours and other people's alike."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from limner.errors import InputRefused, NotReady

__all__ = ["GROUPS", "back_end", "names"]

GROUPS = ("limner.trainers", "limner.hubs", "limner.generators", "limner.captioners", "limner.scorers")


@cache
def _points(group: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=group)}


def names(group: str) -> list[str]:
    """The names of all back ends installed for a group, sorted."""
    return sorted(_points(group))


def back_end(group: str, name: str, **settings: Any) -> Any:
    """Make the back end of that name. An unknown name is refused with the known ones; a broken one says why."""
    kind = group.removeprefix("limner.").removesuffix("s")
    point = _points(group).get(name)
    if point is None:
        known = ", ".join(names(group)) or "none"
        raise InputRefused(f"There is no {kind} '{name}'.", remedy=f"Installed: {known}.", thing=name)
    try:
        factory = point.load()
    except ImportError as failure:
        raise NotReady(
            f"The {kind} '{name}' cannot be loaded: {failure}.",
            remedy=f"Install what it needs, for example: pip install 'limner[{name}]'.",
            thing=name,
        ) from failure
    return factory(**settings)
