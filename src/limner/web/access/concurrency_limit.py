"""How many requests of one address are answered at once; an event stream is one as long as it is open."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from limner.errors import TooManyAtOnce
from limner.http_server.addresses import is_loopback, network_of

__all__ = ["Crowding"]


class Crowding:
    """Counts the requests under way, by address; of this machine's own any number, and of ``most`` 0 too."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._busy: Counter[str] = Counter()

    @contextmanager
    def one_more(self, address: str) -> Iterator[None]:
        """While a request is answered. TooManyAtOnce: it has to wait for another's end."""
        if not self._most or is_loopback(address):
            yield
            return
        network = network_of(address)
        if self._busy[network] >= self._most:
            raise TooManyAtOnce(
                f"{self._most} requests of your address are being answered at this moment.",
                remedy="Close some tabs, or try again in a while; the setting is max_connections_per_address.",
                thing="address",
            )
        self._busy[network] += 1
        try:
            yield
        finally:
            self._busy[network] -= 1
            if not self._busy[network]:
                del self._busy[network]
