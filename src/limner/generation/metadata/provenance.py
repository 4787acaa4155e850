"""Provenance: what a picture says of how it was made, written into it and read from it.

Four things are written: ``parameters`` (the text that A1111 and Civitai read), ``limner`` (JSON that loses nothing,
with the digest of the pixels), the marks of AI in XMP and EXIF, and a signed content credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputRefused
from limner.generation.metadata import infotext, limner_text, reading
from limner.generation.metadata.ai_marks import XMP_KEYWORD, exif_block, marks_in, xmp_packet
from limner.generation.metadata.c2pa import sign_png
from limner.generation.metadata.infotext import Infotext
from limner.generation.metadata.pixels import encode_png, opened, picture_bytes, pixel_digest
from limner.generation.metadata.png import SIGNATURE, Chunk, read_chunks, text_chunk, utf8_text_chunk, write_chunks
from limner.generation.metadata.texts import texts_of
from limner.types import ImageRecord

__all__ = ["Provenance", "pixel_digest", "read_provenance", "read_record", "seal_image", "share_copy"]

# what decides how the pixels look; every other optional chunk is left behind
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"IDAT", b"IEND"})


@dataclass(frozen=True, slots=True)
class Provenance:
    """What is there. ``source``: limner, another of ``metadata.reading.PROGRAMS``, or empty where nothing is said.

    ``record`` and ``recorded_pixels`` (digest at writing) are Limner's own; ``text`` is a summary for any source.
    ``marks`` names the marks of AI that were found; ``problem`` says what cannot be read.
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
        text_chunk(limner_text.KEYWORD, limner_text.write(record, digest)),
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
    texts, exif = texts_of(picture_bytes(path))
    marks = marks_in(texts.get(XMP_KEYWORD, ""), exif)
    if limner_text.KEYWORD in texts:
        try:
            record, digest = limner_text.parse(texts[limner_text.KEYWORD])
        except ValueError as failure:
            return Provenance("limner", marks=marks, problem=f"Limner's record in it is damaged: {failure}.")
        return Provenance("limner", record, digest, infotext.parse(infotext.write(record)), marks)
    source, text, problem = reading.read(texts)
    return Provenance(source, text=text, marks=marks, problem=problem)


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
