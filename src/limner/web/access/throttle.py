"""Waits between tries to log in, by name and by address: a few are free, then each failure doubles the wait."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from fastapi import Request

from limner.errors import TooManyTries
from limner.http_server.addresses import network_of, parsed_address
from limner.web.access.rules import Rules

__all__ = ["Throttle", "client_address"]

FREE_TRIES = 5
LONGEST_WAIT = {"name": 60.0, "address": 900.0}
"""Seconds. Short for a name: strangers must not be able to lock its owner out for long."""
FORGET_AFTER = 3600.0
MOST_KNOWN = 20_000


@dataclass(frozen=True, slots=True)
class _Failed:
    """How many tries have failed, when the last one did, and when the one before it."""

    count: int = 0
    at: float = 0.0
    before: float = 0.0


class Throttle:
    """Counts the failed tries of this process. A try counts as failed until it is said to be good."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[tuple[str, str], _Failed] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, address: str) -> None:
        """Before a password is looked at. TooManyTries says how long to wait."""
        keys = (("name", name[:64]), ("address", network_of(address)))
        with self._lock:
            moment = self._clock()
            wait = max(self._wait(key, moment) for key in keys)
            if wait > 0:
                seconds = math.ceil(wait)
                raise TooManyTries(
                    "Too many wrong passwords.", remedy=f"Wait {seconds} s, then try again.", thing=str(seconds)
                )
            for key in keys:
                known = self._failed.pop(key, _Failed())
                self._failed[key] = _Failed(known.count + 1, moment, known.at)
            while len(self._failed) > MOST_KNOWN:
                self._failed.popitem(last=False)

    def good(self, name: str, address: str) -> None:
        """The password was right: the name's failures are forgotten, and the address is as before this try."""
        with self._lock:
            self._failed.pop(("name", name[:64]), None)
            key = ("address", network_of(address))
            known = self._failed.pop(key, _Failed())
            if known.count > 1:
                self._failed[key] = _Failed(known.count - 1, known.before, known.before)

    def _wait(self, key: tuple[str, str], moment: float) -> float:
        known = self._failed.get(key, _Failed())
        if known.count and moment - known.at > FORGET_AFTER:
            del self._failed[key]
            return 0.0
        if known.count < FREE_TRIES:
            return 0.0
        return known.at + min(LONGEST_WAIT[key[0]], 2.0 ** min(known.count - FREE_TRIES, 20)) - moment


def client_address(request: Request, rules: Rules) -> str:
    """The address from which a request comes, "" if that is not known.

    Behind the proxy with https it is what the proxy says. All that stands before its own entry anybody may have sent.
    """
    peer = request.client.host if request.client else ""
    parsed = parsed_address(peer)
    if not rules.secure or parsed is None or not parsed.is_loopback:
        return peer
    said = ",".join(request.headers.getlist("x-forwarded-for")).rpartition(",")[2].strip()
    return said if parsed_address(said) is not None else peer
