"""The parts of a multipart form, told of as they come, so that no size of them fills memory or a second disk."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from email.message import Message
from typing import TYPE_CHECKING

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser
from starlette.requests import ClientDisconnect

from limner.errors import InputRefused

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

__all__ = ["FormParts", "boundary_of", "read_parts"]

PIECE = 1 << 20
MOST_HEADERS = 16_384


class FormParts(ABC):
    """Somebody who is told of a form's parts, in threads: of each its names, its bytes in pieces, and its end."""

    def __init__(self) -> None:
        self._field, self._value = b"", b""
        self._headers: dict[str, str] = {}
        self._read = 0

    @abstractmethod
    def begin(self, name: str, filename: str, /) -> None:
        """A part begins; ``filename`` is "" for what is no file, or none that was chosen."""

    @abstractmethod
    def data(self, data: bytes) -> None:
        """More bytes of the part."""

    @abstractmethod
    def end(self) -> None:
        """The part has ended."""

    def callbacks(self) -> MultipartCallbacks:
        """What a multipart parser calls."""
        return {
            "on_part_begin": self._part_begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_end,
            "on_part_data": lambda data, start, end: self.data(data[start:end]),
            "on_part_end": self.end,
        }

    def _part_begin(self) -> None:
        self._headers, self._field, self._value, self._read = {}, b"", b"", 0

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
        self.begin(_word(said, "name"), _word(said, "filename"))


def _word(said: Message, name: str) -> str:
    value = said.get_param(name, header="content-disposition")
    return value if isinstance(value, str) else ""


def boundary_of(request: Request) -> str:
    """What stands between the parts of the request's form, "" if it has no parts."""
    said = Message()
    said["content-type"] = request.headers.get("content-type", "")
    boundary = said.get_param("boundary")
    return boundary if said.get_content_type() == "multipart/form-data" and isinstance(boundary, str) else ""


async def read_parts(request: Request, boundary: str, parts: FormParts) -> None:
    """Read a form to its end. InputRefused: it is broken, or broke off; whatever ``parts`` raise."""
    try:
        parser = MultipartParser(boundary.encode("latin-1"), parts.callbacks())
        piece = bytearray()
        async for part in request.stream():
            piece += part
            if len(piece) >= PIECE:
                await asyncio.to_thread(parser.write, bytes(piece))
                piece.clear()
        await asyncio.to_thread(parser.write, bytes(piece))
        await asyncio.to_thread(parser.finalize)
    except (FormParserError, ClientDisconnect) as failure:
        raise InputRefused("The form arrived broken.", remedy="Send it again.") from failure
