"""Waits between tries to log in, by name and by address: a few are free, then each failure doubles the wait."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from limner.errors import TooManyTries

__all__ = ["Throttle"]

FREE_TRIES = 5
LONGEST_WAIT = {"name": 60.0, "address": 900.0}
"""Seconds. Short for a name: strangers must not be able to lock its owner out for long."""
FORGET_AFTER = 3600.0
MOST_KNOWN = 20_000


class Throttle:
    """Counts the failed tries of this process. A try counts as failed until it is said to be good."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[tuple[str, str], tuple[int, float]] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, name: str, address: str) -> None:
        """Before a password is looked at. TooManyTries says how long to wait."""
        keys = (("name", name[:64]), ("address", _network(address)))
        with self._lock:
            moment = self._clock()
            wait = max(self._wait(key, moment) for key in keys)
            if wait > 0:
                seconds = math.ceil(wait)
                raise TooManyTries(
                    "Too many wrong passwords.", remedy=f"Wait {seconds} s, then try again.", thing=str(seconds)
                )
            for key in keys:
                count = self._failed.pop(key, (0, 0.0))[0]
                self._failed[key] = (count + 1, moment)
            while len(self._failed) > MOST_KNOWN:
                self._failed.popitem(last=False)

    def good(self, name: str, address: str) -> None:
        """The password was right: the name's failures are forgotten, and the address gets this try back."""
        with self._lock:
            self._failed.pop(("name", name[:64]), None)
            key = ("address", _network(address))
            count, at = self._failed.pop(key, (1, 0.0))
            if count > 1:
                self._failed[key] = (count - 1, at)

    def _wait(self, key: tuple[str, str], moment: float) -> float:
        count, at = self._failed.get(key, (0, 0.0))
        if count and moment - at > FORGET_AFTER:
            del self._failed[key]
            return 0.0
        if count < FREE_TRIES:
            return 0.0
        return at + min(LONGEST_WAIT[key[0]], 2.0 ** min(count - FREE_TRIES, 20)) - moment


def _network(address: str) -> str:
    """The address, or of an IPv6 one the network that one household has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
