"""Provenance: what a picture says of how it was made, written into it and read from it.

Four things are written: ``parameters`` (the text that A1111 and Civitai read), ``limner`` (JSON that loses nothing,
with the digest of the pixels), the marks of AI in XMP and EXIF, and a signed content credential.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputRefused
from limner.generation import foreign, infotext, record_text
from limner.generation.credentials import sign_png
from limner.generation.infotext import Infotext
from limner.generation.marks import XMP_KEYWORD, exif_block, marks_in, xmp_packet
from limner.generation.pixels import encode_png, opened, picture_bytes, pixel_digest
from limner.generation.png import (
    SIGNATURE,
    Chunk,
    read_chunks,
    read_texts,
    text_chunk,
    utf8_text_chunk,
    write_chunks,
)
from limner.types import ImageRecord

__all__ = ["Provenance", "pixel_digest", "read_provenance", "read_record", "seal_image", "share_copy"]

# what decides how the pixels look; every other optional chunk is left behind
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"IDAT", b"IEND"})
_USER_COMMENT, _MAKE, _MODEL, _EXIF_FOLDER = 0x9286, 0x010F, 0x0110, 0x8769


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is there. ``source``: limner, a1111, comfyui, invokeai, or empty where the picture says nothing.

    ``record`` and ``recorded_pixels`` (digest at writing) are Limner's own; ``text`` is a summary for any source.
    ``marks`` names the marks of AI that were found; ``problem`` says why Limner's own record cannot be read.
    """

    source: str = ""
    record: ImageRecord | None = None
    recorded_pixels: str = ""
    text: Infotext | None = None
    marks: tuple[str, ...] = ()
    problem: str = ""


# --- writing ----------------------------------------------------------------------------------------------------


def seal_image(data: bytes, record: ImageRecord, *, credentials: Path | None = None) -> bytes:
    """A generator's picture (any format) as a PNG that carries its provenance; earlier texts in it are dropped.

    ``credentials`` is the home folder that holds the signing key; None leaves the picture unsigned.
    """
    digest = pixel_digest(data)
    said = [
        text_chunk("parameters", infotext.write(record)),
        text_chunk(record_text.KEYWORD, record_text.write(record, digest)),
    ]
    sealed = _marked(data, said, model=record.base)
    return sealed if credentials is None else sign_png(sealed, credentials, _assertion(record, digest))


def share_copy(data: bytes) -> bytes:
    """The picture's pixels as a PNG that says only that AI made them: no prompt, no names, no seed, no signature."""
    return _marked(data, [], model="")


def _marked(data: bytes, said: list[Chunk], *, model: str) -> bytes:
    """The picture as PNG with the marks of AI and these texts, before the pixels as some readers want it."""
    if not data.startswith(SIGNATURE):
        with opened(data) as picture:
            data = encode_png(picture)
    first, *rest = [chunk for chunk in read_chunks(data) if chunk.kind in _PIXEL_CHUNKS]
    marks = [utf8_text_chunk(XMP_KEYWORD, xmp_packet()), Chunk(b"eXIf", exif_block(model))]
    return write_chunks([first, *said, *marks, *rest])


def _assertion(record: ImageRecord, digest: str) -> dict[str, Any]:
    """The signed part: enough to prove how it was made, without the prompt and without names."""
    return {
        "pixels": digest,
        "base": record.base,
        "generator": record.generator,
        "seed": str(record.seed),
        "steps": record.steps,
        "guidance": record.guidance,
        "loras": [{"digest": use.digest, "scale": use.scale} for use in record.loras],
    }


# --- reading ----------------------------------------------------------------------------------------------------


def read_provenance(path: Path) -> Provenance:
    """What a picture says of itself, whoever made it. NotFound, InputRefused: no file, or no readable picture."""
    texts, exif = _texts_of(picture_bytes(path))
    marks = marks_in(texts.get(XMP_KEYWORD, ""), exif)
    if record_text.KEYWORD in texts:
        try:
            record, digest = record_text.parse(texts[record_text.KEYWORD])
        except ValueError as failure:
            return Provenance("limner", marks=marks, problem=f"Limner's record in it is damaged: {failure}.")
        return Provenance("limner", record, digest, infotext.parse(infotext.write(record)), marks)
    for source, keyword, read in (
        ("invokeai", "invokeai_metadata", foreign.invokeai),
        ("comfyui", "prompt", foreign.comfyui),
        ("a1111", "parameters", infotext.parse),
        ("comfyui", "workflow", foreign.comfyui_workflow),
    ):
        text = read(texts[keyword]) if keyword in texts else None
        if text is not None:
            return Provenance(source, text=text, marks=marks)
    return Provenance(marks=marks)


def read_record(path: Path) -> ImageRecord:
    """The record in a picture that Limner made. InputRefused: there is none, or it cannot be read."""
    found = read_provenance(path)
    if found.record is None:
        raise InputRefused(
            f"{path.name} does not say how Limner made it. {found.problem}".strip(),
            remedy="Give the file as Limner wrote it: many programs and web sites drop this when they save a picture.",
            thing=str(path),
        )
    return found.record


def _texts_of(data: bytes) -> tuple[dict[str, str], Mapping[int, Any]]:
    """The texts by their PNG keywords, wherever the format keeps them, and the EXIF values by their tags."""
    if data.startswith(SIGNATURE):
        chunks = read_chunks(data)
        block = next((chunk.body for chunk in chunks if chunk.kind == b"eXIf"), b"")
        return read_texts(chunks), _exif(block)
    with opened(data) as picture:
        xmp = picture.info.get("xmp", b"")
        exif = _exif(picture.info.get("exif", b""))
    texts = {XMP_KEYWORD: xmp.decode("utf-8", "replace") if isinstance(xmp, bytes) else str(xmp)}
    comment = _user_comment(exif.get(_USER_COMMENT))
    if comment:
        texts["parameters"] = comment
    # ComfyUI's WebP: graph and workflow stand in the camera's make and model, after their keywords
    for tag in (_MAKE, _MODEL):
        keyword, colon, text = str(exif.get(tag, "")).partition(":")
        if colon and keyword in ("prompt", "workflow"):
            texts[keyword] = text
    return texts, exif


def _exif(block: bytes) -> Mapping[int, Any]:
    """The values by their tags, those of the Exif folder among them; nothing where the block is damaged."""
    from PIL.Image import Exif

    exif = Exif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if block:
                exif.load(block if block.startswith(b"Exif\0\0") else b"Exif\0\0" + block)
            return {**exif, **exif.get_ifd(_EXIF_FOLDER)}
    except Exception:  # the reader may raise anything on damaged bytes
        return {}


def _user_comment(value: object) -> str:
    """EXIF's UserComment: eight bytes that name the coding, then the text."""
    if not isinstance(value, bytes):
        return ""
    coding, text = value[:8], value[8:]
    if coding == b"UNICODE\0":
        # EXIF leaves the byte order open: text of A1111 is big-endian, and the first letters are nearly always Latin
        little = text[1:2] == b"\0" and text[:1] != b"\0"
        return text.decode("utf-16-le" if little else "utf-16-be", "replace")
    return text.decode("utf-8", "replace") if coding in (b"ASCII\0\0\0", b"\0" * 8) else ""
