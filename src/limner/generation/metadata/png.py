"""The PNG container: its chunks and texts, read and written without touching the pixels."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from limner.errors import InputRefused

__all__ = ["SIGNATURE", "Chunk", "read_chunks", "read_texts", "text_chunk", "utf8_text_chunk", "write_chunks"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_TEXT = 16 * 2**20  # bytes that one compressed text may unpack to


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk: its type (four ASCII letters) and its body."""

    kind: bytes
    body: bytes


def read_chunks(data: bytes) -> list[Chunk]:
    """All chunks up to IEND; what follows it is left out. InputRefused: no PNG, cut short, or a wrong checksum."""
    if not data.startswith(SIGNATURE):
        raise _damaged("it does not begin as a PNG does")
    chunks: list[Chunk] = []
    at = len(SIGNATURE)
    while not chunks or chunks[-1].kind != b"IEND":
        length = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        checksum = data[at + 8 + length : at + 12 + length]
        if len(checksum) < 4:
            raise _damaged("it is cut short")
        if int.from_bytes(checksum, "big") != zlib.crc32(kind + body):
            raise _damaged(f"the checksum of its part at byte {at} is wrong")
        chunks.append(Chunk(kind, body))
        at += 12 + length
    return chunks


def write_chunks(chunks: Iterable[Chunk]) -> bytes:
    """The file that these chunks make."""
    parts = [SIGNATURE]
    for chunk in chunks:
        checksum = zlib.crc32(chunk.kind + chunk.body)
        parts += [len(chunk.body).to_bytes(4, "big"), chunk.kind, chunk.body, checksum.to_bytes(4, "big")]
    return b"".join(parts)


def text_chunk(keyword: str, text: str) -> Chunk:
    """A text without NUL: plain where it is ASCII, which every reader understands, else UTF-8."""
    if text.isascii():
        return Chunk(b"tEXt", keyword.encode("ascii") + b"\0" + text.encode("ascii"))
    return utf8_text_chunk(keyword, text)


def utf8_text_chunk(keyword: str, text: str) -> Chunk:
    """A text as iTXt, not compressed; XMP must be one."""
    return Chunk(b"iTXt", keyword.encode("ascii") + b"\0\0\0\0\0" + text.encode("utf-8"))


def read_texts(chunks: Iterable[Chunk]) -> dict[str, str]:
    """The texts by keyword, the last one of a keyword winning; one that cannot be read is left out."""
    found: dict[str, str] = {}
    for chunk in chunks:
        keyword, mark, rest = chunk.body.partition(b"\0")
        if not mark or chunk.kind not in (b"tEXt", b"zTXt", b"iTXt"):
            continue
        try:
            found[keyword.decode("latin-1")] = _text(chunk.kind, rest)
        except (ValueError, zlib.error):
            continue
    return found


def _text(kind: bytes, rest: bytes) -> str:
    if kind == b"tEXt":
        return rest.decode("latin-1")
    if kind == b"zTXt":
        return _inflated(rest[1:]).decode("latin-1")
    compressed, rest = rest[:1] == b"\x01", rest[2:]
    _, _, text = rest.split(b"\0", 2)
    return (_inflated(text) if compressed else text).decode("utf-8")


def _inflated(packed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(packed, _MOST_TEXT)
    if not inflater.eof:
        raise ValueError("the text is cut short, or far too long")
    return text


def _damaged(reason: str) -> InputRefused:
    return InputRefused(f"The picture cannot be read: {reason}.", remedy="Take an undamaged copy of it.", thing="png")
