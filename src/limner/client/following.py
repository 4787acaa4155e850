"""Following a job by its event stream; one that breaks off is opened again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from limner.client.connection import PAUSES, Connection
from limner.errors import VendorFailed

__all__ = ["follow"]

ENDED = ("done", "failed", "cancelled")
MOST_BREAKS = 10
"""Streams that break off one after the other without a word before it is given up."""


def follow(connection: Connection, job: str) -> Iterator[Any]:
    """Give the job whenever it has changed, until it has ended. VendorFailed: the server stays away."""
    seen: Any = None
    breaks = 0
    while True:
        ended = came = False
        try:
            for kind, data in _events(connection, f"/jobs/{job}/events"):
                came = True
                if kind == "end":
                    ended = True
                    break
                current = json.loads(data)
                if current != seen:
                    seen = current
                    yield current
        except VendorFailed:
            if breaks >= MOST_BREAKS and not came:
                raise
        if ended or (seen is not None and seen["state"] in ENDED):
            return
        # A server that tells of the job is there, however long nothing changes.
        breaks = 0 if came else breaks + 1
        if breaks > MOST_BREAKS:
            raise VendorFailed(
                "The server ended the stream again and again.", remedy="Ask for the job itself.", thing=job
            )
        time.sleep(PAUSES[min(max(breaks - 1, 0), len(PAUSES) - 1)])


def _events(connection: Connection, path: str) -> Iterator[tuple[str, str]]:
    """The events of one stream, each with its kind and data."""
    with connection.stream(path) as answer:
        kind, data = "", []
        for line in answer.iter_lines():
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if name == "event":
                kind = value
            elif name == "data":
                data.append(value)
            elif not line:
                if data:
                    yield kind, "\n".join(data)
                kind, data = "", []
