"""A server on a real socket that answers with what a test wrote down, byte by byte, and breaks off where told."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["HANG", "Request", "Reset", "Script", "answer", "json_answer", "scripted"]


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Reset:
    """Send these bytes, then break the connection: with a reset, or (``politely``) with an ordinary end."""

    sent: bytes = b""
    politely: bool = False


HANG = object()
"""Never answer."""
Reply = bytes | Reset | object | Callable[[Request], Any]


@dataclass
class Script:
    url: str = ""
    requests: list[Request] = field(default_factory=list)


def answer(
    status: int, body: bytes = b"", headers: dict[str, str] | None = None, *, length: int | None = -1, kind: str = ""
) -> bytes:
    """A whole answer; ``length`` claims another one, None claims none."""
    lines = [f"HTTP/1.1 {status} Words"]
    named = {"content-type": kind} if kind else {}
    if length is not None:
        named["content-length"] = str(len(body) if length == -1 else length)
    else:
        named["connection"] = "close"
    lines += [f"{name}: {value}" for name, value in {**named, **(headers or {})}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def json_answer(status: int, body: Any, headers: dict[str, str] | None = None) -> bytes:
    return answer(status, json.dumps(body).encode(), headers, kind="application/json")


@asynccontextmanager
async def scripted(*replies: Reply) -> AsyncIterator[Script]:
    """Serve the replies in the order of the requests; the last one is repeated."""
    script, left = Script(), list(replies)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _read(reader)) is not None:
                script.requests.append(request)
                reply = left.pop(0) if len(left) > 1 else left[0]
                if callable(reply):
                    reply = reply(request)
                if reply is HANG:
                    await asyncio.sleep(3600)
                if isinstance(reply, Reset):
                    await _break_off(writer, reply)
                    return
                writer.write(reply)
                await writer.drain()
                if b"\r\nconnection: close" in reply.partition(b"\r\n\r\n")[0].lower():
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    script.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield script
    finally:
        server.close()


async def _break_off(writer: asyncio.StreamWriter, reply: Reset) -> None:
    writer.write(reply.sent)
    await writer.drain()
    # A reset throws away what the other side has not read yet.
    await asyncio.sleep(0.03 if len(reply.sent) > 1000 else 0.005)
    if not reply.politely:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest if line)}
    body = b""
    if "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    elif headers.get("transfer-encoding") == "chunked":
        while size := int((await reader.readline()).strip() or b"0", 16):
            body += await reader.readexactly(size)
            await reader.readexactly(2)
        await reader.readline()
    return Request(method, path, headers, body)
