"""The file of a LoRA that a plain form sends, with the form's fields: written below the home folder as it comes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from limner.errors import InputRefused
from limner.http_server.bodies import FORM_TYPE
from limner.studio import Studio
from limner.web.files.multipart import FormParts, boundary_of, read_parts

__all__ = ["LoraForm"]

FILE_FIELD = "file"
MOST_TEXT = 100_000


class _Spool(Protocol):
    file: Path

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def discard(self) -> None: ...


class LoraForm(FormParts):
    """``fields`` of a form, and the ``file`` that came with it, if one did. ``discard`` it in the end."""

    def __init__(self, studio: Studio) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._studio = studio
        self._spool: _Spool | None = None
        self._name, self._text, self._read_text = "", bytearray(), 0

    @property
    def file(self) -> Path | None:
        return self._spool.file if self._spool else None

    async def receive(self, request: Request) -> None:
        """Read the form of a request. InputRefused: it is broken or too large. StorageFailed: it has no room."""
        boundary = boundary_of(request)
        if boundary:
            await read_parts(request, boundary, self)
            if self._spool:
                await run_in_threadpool(self._spool.close)
        elif request.headers.get("content-type", "").startswith(FORM_TYPE):
            self.fields = {name: str(value) for name, value in (await request.form()).items()}

    def discard(self) -> None:
        """Throw the file away."""
        if self._spool:
            self._spool.discard()

    def begin(self, name: str, filename: str) -> None:
        self._name, self._text = name, bytearray()
        if name == FILE_FIELD and filename:
            if self._spool:
                raise InputRefused("Several files came with the form.", remedy="Send one at a time.", thing="source")
            self._spool = self._studio.uploads.spool_lora()
        self._take(len(name) + 1)

    def data(self, data: bytes) -> None:
        if self._name == FILE_FIELD:
            if self._spool:
                self._spool.write(data)
            return
        self._take(len(data))
        self._text += data

    def end(self) -> None:
        if self._name != FILE_FIELD:
            self.fields[self._name] = self._text.decode("utf-8", "replace")

    def _take(self, length: int) -> None:
        self._read_text += length
        if self._read_text > MOST_TEXT:
            raise InputRefused("The form has too much text.", remedy="Send less.")
