"""Inspecting a picture: what it says of itself, and whether that still holds, as plain JSON data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from limner.generation.metadata.c2pa import Credential, verify
from limner.generation.metadata.infotext import Infotext
from limner.generation.metadata.pixels import media_type, opened, picture_bytes, pixel_digest
from limner.generation.metadata.provenance import Provenance, read_provenance
from limner.generation.metadata.reading import PROGRAMS
from limner.types import ImageRecord

__all__ = ["describe"]


def describe(path: Path) -> dict[str, Any]:
    """All that is known of a picture file. NotFound, InputRefused: no file, or no readable picture.

    ``made_with`` and ``record`` or ``summary`` say how it was made; ``ai_marks`` which marks say that AI made it;
    ``pixels.unchanged`` is True, False, or None where nothing was recorded; ``credential`` judges the signature;
    ``says`` is the whole in plain sentences.
    """
    data = picture_bytes(path)
    found = read_provenance(path)
    credential = verify(data, media_type(data))
    digest = pixel_digest(data)
    recorded = found.recorded_pixels or str(credential.provenance.get("pixels", ""))
    unchanged = digest == recorded if recorded else None
    marks = [*found.marks, *(["C2PA"] if credential.ai_made else [])]
    with opened(data) as picture:
        width, height = picture.size
    return {
        "path": str(path),
        "media_type": media_type(data),
        "width": width,
        "height": height,
        "byte_size": len(data),
        "made_with": PROGRAMS.get(found.source, credential.made_with),
        "record": _record(found.record) if found.record else None,
        "summary": _summary(found.text) if found.text and not found.record else None,
        "ai_marks": marks,
        "pixels": {"digest": digest, "recorded": recorded, "unchanged": unchanged},
        "credential": {**asdict(credential), "problems": list(credential.problems)},
        "says": _sentences(found, credential, unchanged, marks),
    }


def _record(record: ImageRecord) -> dict[str, Any]:
    plain = asdict(record)
    plain["loras"] = [{name: value for name, value in use.items() if name != "path"} for use in plain["loras"]]
    return plain


def _summary(text: Infotext) -> dict[str, Any]:
    return {
        "prompt": text.prompt,
        "negative_prompt": text.negative_prompt,
        "settings": dict(text.settings),
        "loras": [{"name": name, "scale": scale} for name, scale in text.loras],
    }


def _sentences(found: Provenance, credential: Credential, unchanged: bool | None, marks: list[str]) -> list[str]:
    tool = PROGRAMS.get(found.source)
    says = [f"It says that it was made with {tool}." if tool else "It does not say how it was made."]
    if found.problem:
        says.append(found.problem)
    says.append(f"It is marked as made by AI ({', '.join(marks)})." if marks else "It carries no mark of AI.")
    if unchanged is not None:
        says.append(
            "Its pixels are those that were drawn." if unchanged else "Its pixels were changed after it was drawn."
        )
    return [*says, credential.says]
