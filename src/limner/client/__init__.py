"""A client of the REST API: what a connection, a key, an upload and a stream of events need beside plain requests.

    from limner.client import Client

    with Client("http://127.0.0.1:8712", token="lim_…") as limner:
        limner.wait(limner.add_photos("zibbo", ["a.jpg", "b.jpg"])["id"])
        made = limner.post("/trainings", {"subject": "zibbo", "preset": "quick"})
        print(limner.wait(made["job"]["id"])["result"])

What it sends and gives is JSON as ``/api/v1/openapi.json`` describes it; its errors are those of ``limner.errors``.
What is safe is sent again after a lost connection; every POST carries a key, so it is done once however often sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx2

from limner.client.connection import Connection
from limner.client.following import follow
from limner.client.uploading import Progress, send_file
from limner.errors import Cancelled, InputRefused, LimnerError

__all__ = ["Client"]


class Client(AbstractContextManager["Client"]):
    """One server of Limner. Paths begin after ``/api/v1``, such as ``/subjects/zibbo``."""

    def __init__(
        self,
        url: str = "http://127.0.0.1:8712",
        *,
        token: str = "",
        timeout: float = 60.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        self.connection = Connection(url, token, timeout, transport)

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self.connection.close()

    def get(self, path: str, /, **query: Any) -> Any:
        """What is at a path."""
        return self.connection.answer("GET", path, query=query).json()

    def items(self, path: str, /, *, limit: int | None = None, **query: Any) -> Iterator[Any]:
        """The things of a list, asked for in parts as they are taken; ``limit`` ends it earlier."""
        left, cursor = limit, ""
        while left is None or left > 0:
            part = self.get(path, **query, limit=min(left or 200, 200), cursor=cursor)
            yield from part["items"]
            left = None if left is None else left - len(part["items"])
            if part["next"] is None:
                return
            cursor = part["next"]

    def post(self, path: str, body: Mapping[str, Any] | None = None, /, *, key: str = "", **query: Any) -> Any:
        """Something made or started; with a ``key`` of your own at most once, whatever becomes of the answer.

        Where a key is made here, the error of an answer that stayed lost names it.
        """
        return self.connection.answer("POST", path, query=query, body=body, key=key).json()

    def change(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, /, *, if_match: str = "", **query: Any
    ) -> Any:
        """PUT, PATCH or DELETE, and the thing as it is then. ChangedMeanwhile: it has another ``tag`` by now."""
        headers = {"If-Match": if_match} if if_match else {}
        answer = self.connection.answer(method, path, query=query, body=body, headers=headers)
        return answer.json() if answer.content else None

    def tag(self, path: str) -> str:
        """The ETag of a thing as it is now."""
        return str(self.connection.answer("GET", path).headers.get("etag", ""))

    def file(self, path: str, /, **query: Any) -> bytes:
        """The bytes of a picture, a lora or another file."""
        return self.connection.answer("GET", path, query=query).content

    def add_photos(
        self,
        subject: str,
        files: Sequence[str | Path],
        *,
        batch: str = "",
        on_progress: Progress | None = None,
        **options: bool,
    ) -> Any:
        """Send files and take them in; name the ``batch`` to go on with one that broke off.

        ``options`` are those of ``/uploads/batches/{batch}/commit``.
        """
        if not files:
            raise InputRefused("No file was named.", remedy="Name at least one photo.", thing="files")
        opened = batch or self.post("/uploads/batches", {"subject": subject})["id"]
        for position, file in enumerate(files):
            send_file(self.connection, subject, opened, file, position=position, on_progress=on_progress)
        return self.post(f"/uploads/batches/{opened}/commit", {"count": len(files), **options})

    def follow(self, job: str) -> Iterator[Any]:
        """A job, whenever it has changed, until it has ended; goes on after a lost connection or a new server."""
        return follow(self.connection, job)

    def wait(self, job: str) -> Any:
        """Wait until a job is done; raise the error that it ended with, Cancelled included."""
        ended = self.get(f"/jobs/{job}")
        for current in self.follow(job):
            ended = current
        if ended["state"] == "done":
            return ended
        error = ended["error"] or {}
        if ended["state"] == "cancelled":
            message = error.get("message") or "The job was cancelled; what was done so far is kept."
            raise Cancelled(message, remedy=error.get("remedy", ""), thing=ended["id"])
        raise LimnerError.of_code(
            error.get("code", ""),
            error.get("message", "The job failed."),
            remedy=error.get("remedy", ""),
            thing=error.get("thing", ended["id"]),
            candidates=error.get("candidates") or (),
        )
