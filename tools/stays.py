"""How a reader wanders through the rooms: the code that draws one picture at Together AI, in the order it is entered.

python tools/stays.py            prints rooms, stays and returns of that trip
python tools/stays.py --path     and each stay with its doors

The trip is ``studio.generations.start`` with a published lora and the stage that draws, on the stand-ins. A room is a
folder under limner, of ``operations`` and ``web`` one below; plain ground (records, and the modules that lie in limner
itself, but for the studio) is no room: everybody stands on it. A door is a function that is called from another room,
each time that it is; a function within a function is none, which is read where it stands. A door that answers within
its room (a row, a price, a setting) is a look-up, read like a library's. A stay is a longest run of calls of other
doors of one room: the trip goes on through them to a further room. A return is a stay in a room that was left before.
"""

from __future__ import annotations

import asyncio
import dis
import importlib
import inspect
import itertools
import pkgutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import limner

__all__ = ["Walk", "walk", "walk_of_generate"]

HOME = Path(limner.__file__).parent
GROUND = ("records", "stand_ins")
_FROM: ContextVar[str] = ContextVar("from", default="")
DEPTH: dict[str, int] = {"operations": 2, "web": 2}
"""Folders whose folders are rooms of their own; of all others the first folder is the room."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The doors of a trip, in the order of their calls, each with its room."""

    doors: tuple[tuple[str, str], ...]
    leads_on: frozenset[str]

    @property
    def stays(self) -> list[tuple[str, list[str]]]:
        """The runs of doors of one room through which the trip goes on."""
        return _runs(door for door in self.doors if door[1] in self.leads_on)

    @property
    def visits(self) -> list[tuple[str, list[str]]]:
        """The runs of all doors, look-ups too."""
        return _runs(self.doors)

    @property
    def rooms(self) -> tuple[str, ...]:
        """The rooms, in the order in which they are first entered."""
        return tuple(dict.fromkeys(room for room, _ in self.stays))

    @property
    def returns(self) -> int:
        """How many stays are in a room that was left before."""
        return len(self.stays) - len(self.rooms)


def room_of(path: Path) -> str:
    """The room of a file under limner; "" for plain ground."""
    *folders, file = path.relative_to(HOME).parts
    if not folders:
        return "studio" if file == "studio.py" else ""
    if folders[0] in GROUND:
        return ""
    return "/".join(folders[: DEPTH.get(folders[0], 1)])


def walk(trip: Callable[[], object]) -> Walk:
    """Take a trip, in whatever threads, and note every door that is gone through."""
    doors: list[tuple[str, CodeType]] = []
    leads_on: set[CodeType] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or "<" in code.co_qualname or frame.f_lasti > _begin(code) or not (room := _room(code)):
            return
        caller, came_by = _caller(frame)
        if caller in ("", room):
            return
        doors.append((room, code))
        if came_by is not None:
            leads_on.add(came_by)

    _import_everything()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        with _threads_known():
            trip()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    named = tuple((room, _name(code)) for room, code in doors)
    return Walk(named, frozenset(map(_name, leads_on)))


def _runs(doors: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    return [
        (room, list(dict.fromkeys(name for _, name in run)))
        for room, run in itertools.groupby(doors, key=lambda door: door[0])
    ]


def _name(code: CodeType) -> str:
    return f"{Path(code.co_filename).stem}.{code.co_qualname}"


@cache
def _room(code: CodeType) -> str:
    """The room of a function; "" for bodies of classes and modules, and for what is not ours."""
    path = Path(code.co_filename)
    ours = path.is_relative_to(HOME) and code.co_flags & inspect.CO_NEWLOCALS
    return room_of(path) if ours else ""


@cache
def _begin(code: CodeType) -> int:
    """Where a function begins; a coroutine that goes on is called further down."""
    return next((one.offset for one in dis.get_instructions(code) if one.opname == "RESUME"), 0)


def _caller(frame: FrameType) -> tuple[str, CodeType | None]:
    """The room that calls ("" where a library does, or a stand-in, or a task begins), and the door into it."""
    room, door = "", None
    back = frame.f_back
    while back is not None:
        path = back.f_code.co_filename
        if "site-packages" in path or f"{HOME.name}/stand_ins/" in path:
            break
        here = _room(back.f_code)
        if room and here and here != room:
            break
        if here:
            room, door = here, back.f_code
        back = back.f_back
    return room or _FROM.get(), door


@contextmanager
def _threads_known() -> Iterator[None]:
    """What is done in a thread is called by who asked for the thread."""
    real = asyncio.to_thread

    def to_thread(*given: Any, **named: Any) -> Any:
        _FROM.set(_room(sys._getframe(1).f_code))
        return real(*given, **named)

    asyncio.to_thread = to_thread
    try:
        yield
    finally:
        asyncio.to_thread = real


def _import_everything() -> None:
    """So that no import is a part of the trip."""
    for module in pkgutil.walk_packages([str(HOME)], "limner."):
        if not module.name.endswith("__main__") and ".migrations" not in module.name:
            importlib.import_module(module.name)


def walk_of_generate() -> Walk:
    """The trip of one picture at Together AI with a lora that is public on the Hub."""
    from tests.servers.quick_engine import quick_lora
    from tests.servers.services_bench import SMALL

    with _bench() as bench:
        name = bench.import_lora("ink", quick_lora("limner-tiny", 4, b"ink"))
        bench.run(bench.studio.publications.start(name, hub="huggingface", visibility="public"))

        bench.studio.maintenance.back_ends()  # made once a process, so no part of a trip

        def trip() -> None:
            job = bench.studio.generations.start(
                "a drawing of {trigger}", loras=[name], generator="together", yes=True, **SMALL
            )
            ended = bench.run(job)
            if ended.error is not None:
                raise RuntimeError(ended.error)

        return walk(trip)


@contextmanager
def _bench() -> Iterator[object]:
    import pytest
    from tests.servers.services_bench import open_bench

    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        open_bench(Path(folder), patch) as bench,
    ):
        yield bench


if __name__ == "__main__":
    found = walk_of_generate()
    if "--path" in sys.argv[1:]:
        for room, functions in found.stays:
            print(f"{room}: {', '.join(functions)}")  # noqa: T201
    print(  # noqa: T201
        f"{len(found.rooms)} rooms, {len(found.stays)} stays, {found.returns} returns "
        f"({len(found.visits)} with those that only look something up)"
    )
