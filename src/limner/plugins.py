"""Back ends are found through Python entry points, ours and other people's alike."""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from limner.errors import Conflict, InputRefused, LimnerError, NotReady

__all__ = ["GROUPS", "back_end", "names"]

GROUPS = ("limner.trainers", "limner.hubs", "limner.generators", "limner.captioners", "limner.scorers")


@cache
def _points(group: str) -> dict[str, tuple[EntryPoint, ...]]:
    found: dict[str, tuple[EntryPoint, ...]] = {}
    for point in entry_points(group=group):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def names(group: str) -> list[str]:
    """The names of all back ends installed for a group, sorted."""
    return sorted(_points(group))


def back_end(group: str, name: str, **settings: Any) -> Any:
    """Make the back end of that name, giving it ``settings`` as keyword arguments.

    InputRefused: there is none of that name; the known ones are named. Conflict: two packages offer one. NotReady: it
    is broken here, and why.
    """
    kind = group.removeprefix("limner.").removesuffix("s")
    points = _points(group).get(name, ())
    if not points:
        known = ", ".join(names(group)) or "none"
        raise InputRefused(f"There is no {kind} '{name}'.", remedy=f"Installed: {known}.", thing=name)
    if len(points) > 1:
        raise Conflict(
            f"Several packages offer a {kind} '{name}': {', '.join(map(_package, points))}.",
            remedy="Uninstall all but one of them.",
            thing=name,
        )
    try:
        return points[0].load()(**settings)
    except LimnerError:
        raise
    except Exception as failure:  # whatever a stranger's module may raise
        raise NotReady(
            f"The {kind} '{name}' of the package {_package(points[0])} cannot be loaded: {failure}.",
            remedy="Install what it needs, or upgrade that package.",
            thing=name,
        ) from failure


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else point.value
