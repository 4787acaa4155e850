"""Files that a plain form sends: written to the disk as they come, so that no size of them fills the memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from email.message import Message
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from limner.errors import InputRefused, LimnerError, NotFound
from limner.records import Job
from limner.studio import Studio

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["take_form"]

PIECE = 1 << 20
MOST_HEADERS = 16_384


async def take_form(request: Request, studio: Studio, slug: str) -> Job:
    """Take in all files of a multipart form as one batch. InputRefused: it is none, broken, or holds no file."""
    said = Message()
    said["content-type"] = request.headers.get("content-type", "")
    boundary = said.get_param("boundary")
    if said.get_content_type() != "multipart/form-data" or not isinstance(boundary, str) or not boundary:
        raise InputRefused("No file came with the form.", remedy="Choose files, then send the form again.")
    batch = await run_in_threadpool(studio.uploads.open, slug)
    files = _Files(studio, slug, batch.id)
    try:
        await _read(request, MultipartParser(boundary.encode("latin-1"), files.callbacks()))
        if not files.count:
            raise InputRefused("No file was chosen.", remedy="Choose files or a folder, then send the form again.")
        return await run_in_threadpool(studio.uploads.commit, batch.id, files.count)
    except (LimnerError, MultipartParseError, ClientDisconnect) as failure:
        await asyncio.shield(run_in_threadpool(files.give_up))
        if isinstance(failure, LimnerError):
            raise
        raise InputRefused("The form arrived broken.", remedy="Send it again.") from failure


async def _read(request: Request, parser: MultipartParser) -> None:
    piece = bytearray()
    async for part in request.stream():
        piece += part
        if len(piece) >= PIECE:
            await asyncio.to_thread(parser.write, bytes(piece))
            piece.clear()
    await asyncio.to_thread(parser.write, bytes(piece))
    await asyncio.to_thread(parser.finalize)


class _Files:
    """What a multipart parser tells of the parts of a form; those that are files become uploads."""

    def __init__(self, studio: Studio, slug: str, batch: str) -> None:
        self._studio, self._slug, self._batch = studio, slug, batch
        self.count = 0
        self._field, self._value = b"", b""
        self._headers: dict[str, str] = {}
        self._read = 0
        self._name = ""
        self._spool = studio.uploads.spool()
        self._spool.discard()

    def callbacks(self) -> MultipartCallbacks:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def give_up(self) -> None:
        """Leave nothing behind."""
        self._spool.discard()
        with suppress(NotFound):
            self._studio.uploads.remove_batch(self._batch)

    def _begin(self) -> None:
        self._headers, self._field, self._value, self._name, self._read = {}, b"", b"", "", 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]
        self._count(end - start)

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._count(end - start)

    def _count(self, read: int) -> None:
        self._read += read
        if self._read > MOST_HEADERS:
            raise InputRefused("The form has headers that are too long.", remedy="Send files with shorter names.")

    def _header_end(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode("utf-8", "replace")
        self._field, self._value = b"", b""

    def _headers_end(self) -> None:
        said = Message()
        said["content-disposition"] = self._headers.get("content-disposition", "").replace("\r", " ").replace("\n", " ")
        name = said.get_param("filename", header="content-disposition")
        self._name = name if isinstance(name, str) else ""
        if self._name:
            self._spool = self._studio.uploads.spool()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name:
            self._spool.write(data[start:end])

    def _end(self) -> None:
        if self._name:
            self._studio.uploads.keep(self._slug, self._batch, self._name, self._spool)
            self.count += 1
            self._name = ""
