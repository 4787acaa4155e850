"""LoRAs for tests as training leaves them: a row and a file that is safetensors, with nothing in it."""

from __future__ import annotations

import hashlib

from limner.store.models import BlobRow, LoraRow
from limner.studio import Studio

__all__ = ["add_lora"]


def add_lora(
    studio: Studio, slug: str, *, base: str = "limner-tiny", kind: str = "character", trigger: str = ""
) -> str:
    """A subject with a lora of a base; the lora's name."""
    if slug not in {one.slug for one in studio.subjects.all()}:
        studio.subjects.add(slug, kind=kind, trigger=trigger or f"{slug}_trg", class_word="character")
    workspace = studio._workspace
    words = f'{{"__metadata__":{{"for":"{slug} {base} {len(studio.loras.all(slug))}"}}}}'.encode()
    digest = workspace.blobs.put(len(words).to_bytes(8, "little") + words)
    with workspace.database.write() as session:
        session.merge(BlobRow(digest=digest, media_type="application/octet-stream", byte_size=8 + len(words)))
        session.flush()
        row = LoraRow(
            subject=slug,
            version=len(studio.loras.all(slug)) + 1,
            digest=digest,
            tensor_digest=hashlib.sha256(words).hexdigest(),
            base=base,
            naming="diffusers",
            rank=4,
            alpha=4.0,
            modules=1,
            byte_size=8 + len(words),
            header={},
        )
        session.add(row)
        session.flush()
        return f"{slug}@v{row.version}"
