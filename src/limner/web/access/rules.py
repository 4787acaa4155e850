"""Who is let in, as whoever starts the server decides."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Rules"]


@dataclass(frozen=True, slots=True)
class Rules:
    """``login``: everybody has to log in. ``hosts`` are the names by which the server may be called, at any port.

    ``addresses``: it may also be called by any address in digits, as where it listens on all of them.
    ``secure``: the server is reached by https, so cookies are sent by https alone.
    """

    login: bool = False
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "[::1]")
    addresses: bool = False
    secure: bool = False
