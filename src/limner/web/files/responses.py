"""Files as answers, whole or a part of them; one that was made for this answer alone is deleted after it."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from fastapi import Request
from fastapi.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send

from limner.errors import InputRefused

__all__ = ["SentFile", "known", "made_file"]


def known(request: Request, tag: str) -> bool:
    """Whether who asks has this already, by If-None-Match."""
    named = request.headers.get("if-none-match", "")
    return named.strip() == "*" or tag in {one.strip().removeprefix("W/") for one in named.split(",")}


class SentFile(FileResponse):
    """A file; ``folder`` is deleted once it was sent, broke off, or a part was asked for that it does not have."""

    folder: Path | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from limner.web.problems import answer

        refused = 0

        async def told(message: Message) -> None:
            # starlette's own words for a Range that cannot be read or met are no problem+json and no page.
            nonlocal refused
            if message["type"] == "http.response.start" and message["status"] in (400, 416):
                refused = message["status"]
                failure = InputRefused(
                    "The file does not have the part that was asked for.",
                    remedy="Ask for another part, or leave the header Range out.",
                    thing="Range",
                )
                response = answer(Request(scope, receive), failure, status=refused)
                length = dict(message["headers"]).get(b"content-range")
                if length:
                    response.headers["Content-Range"] = length.decode()
                await response(scope, receive, send)
            elif not refused:
                await send(message)

        try:
            await super().__call__(scope, receive, told)
        finally:
            if self.folder is not None:
                # A reader that went away has cancelled this task.
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, self.folder, ignore_errors=True))


def made_file(make: Callable[[Path], Path], kind: str, name: str = "") -> SentFile:
    """A file that is made in a folder of its own, sent with a tag of its bytes, and deleted."""
    folder = Path(tempfile.mkdtemp(prefix="limner-download-"))
    try:
        path = make(folder)
        with path.open("rb") as file:
            headers = {"ETag": f'"{hashlib.file_digest(file, "sha256").hexdigest()}"'}
        answer = SentFile(path, media_type=kind, filename=name or path.name, headers=headers)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    answer.folder = folder
    return answer
