"""Wake-ups: a job that waits for a vendor sleeps here, and whoever hears from the vendor wakes it. Only ever a hint."""

from __future__ import annotations

import asyncio
import threading

__all__ = ["sleep", "wake"]

_guard = threading.Lock()
_sleepers: dict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = {}


async def sleep(key: str, seconds: float) -> bool:
    """Sleep for that long, or until ``wake(key)`` is called from whatever thread; whether it was woken."""
    sleeper = (asyncio.get_running_loop(), asyncio.Event())
    with _guard:
        _sleepers.setdefault(key, set()).add(sleeper)
    try:
        await asyncio.wait_for(sleeper[1].wait(), seconds)
    except TimeoutError:
        return False
    finally:
        with _guard:
            _sleepers[key].discard(sleeper)
            if not _sleepers[key]:
                del _sleepers[key]
    return True


def wake(key: str) -> None:
    """Wake whoever sleeps under the key; a key that nobody sleeps under is nothing."""
    with _guard:
        sleepers = tuple(_sleepers.get(key, ()))
    for loop, event in sleepers:
        loop.call_soon_threadsafe(event.set)
