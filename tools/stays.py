"""How a reader wanders through the rooms: the code that draws one picture at Together AI, in the order it is entered.

python tools/stays.py            prints rooms, stays and returns of that trip
python tools/stays.py --path     and each stay with its doors

The trip is ``Studio.generate`` with a published lora and the stage that draws, on the stand-ins. Counted are the doors:
functions that are called from another room, each where it is called so for the first time, since who reads the trip
looks each of them up once; to come back to the caller is no stay, nor is a function within a function, which is handed
over and read where it stands. A room is a folder under limner, of ``operations``
and ``web`` one below; plain ground (records, and the modules that lie in limner itself, but for the studio) is no room:
everybody stands on it. A stay is a longest run of doors of one room, a return a stay in a room that was left before.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import itertools
import pkgutil
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
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
    """The stays of a trip: each a room and its doors."""

    stays: tuple[tuple[str, tuple[str, ...]], ...]

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
    """Take a trip, in whatever threads, and note every door where it is first gone through."""
    doors: dict[CodeType, str] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code in doors or "<" in code.co_qualname:
            return
        if (room := _room(code)) and _caller(frame) not in ("", room):
            doors[code] = room

    _import_everything()
    threading.setprofile(note)
    sys.setprofile(note)
    try:
        with _threads_known():
            trip()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    runs = itertools.groupby(doors.items(), key=lambda one: one[1])
    return Walk(tuple((room, tuple(_name(code) for code, _ in run)) for room, run in runs))


def _name(code: CodeType) -> str:
    return f"{Path(code.co_filename).stem}.{code.co_qualname}"


@cache
def _room(code: CodeType) -> str:
    """The room of a function; "" for bodies of classes and modules, and for what is not ours."""
    path = Path(code.co_filename)
    ours = path.is_relative_to(HOME) and code.co_flags & inspect.CO_NEWLOCALS
    return room_of(path) if ours else ""


def _caller(frame: FrameType) -> str:
    """The room that calls; "" where a library does, or a stand-in, or a task begins."""
    back = frame.f_back
    while back is not None:
        path = back.f_code.co_filename
        if "site-packages" in path or f"{HOME.name}/stand_ins/" in path:
            return ""
        if room := _room(back.f_code):
            return room
        back = back.f_back
    return _FROM.get()


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
        bench.run(bench.studio.publish(name, hub="huggingface", visibility="public"))

        def trip() -> None:
            job = bench.studio.generate("a drawing of {trigger}", loras=[name], generator="together", yes=True, **SMALL)
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
    print(f"{len(found.rooms)} rooms, {len(found.stays)} stays, {found.returns} returns")  # noqa: T201
