"""Pictures for taking away: a zip of originals with all that is known of them, and a copy that tells only of AI."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import select
from zipstream import ZipStream

from limner.errors import InputRefused, NotFound
from limner.operations.gallery.picture_files import image_stem, stored
from limner.operations.home.workspace import Workspace
from limner.store.models import GenerationRow, GenerationSubjectRow, ImageRow

__all__ = ["Archive", "archive"]

CHUNK = 256 * 1024
METADATA = "metadata.jsonl"
AT_ONCE = 500
"""Images that are looked up by one query."""


class Archive:
    """A zip that is made while it is read, once: ``byte_size`` is known before, nothing is kept beside it.

    Each picture stands in it as it is stored, under a readable name, and ``metadata.jsonl`` has a line for each.
    """

    def __init__(self, files: Sequence[tuple[str, Path]], metadata: bytes) -> None:
        self.count = len(files)
        # Not compressed, because pictures are already.
        self._zip = ZipStream(sized=True)
        self._zip.add(metadata, METADATA)
        for name, path in files:
            self._zip.add_path(path, name)
        self.byte_size = len(self._zip)

    def chunks(self) -> Iterator[bytes]:
        """The zip's bytes, made while they are taken. NotFound: a picture was erased meanwhile."""
        # A server sends each piece by itself; heads of 60 bytes would cost it more than pictures do.
        gathered = bytearray()
        try:
            for piece in self._zip:
                gathered += piece
                if len(gathered) >= CHUNK:
                    yield bytes(gathered)
                    gathered.clear()
        except FileNotFoundError as lost:
            raise NotFound("A picture was erased while the zip was made.", thing=str(lost.filename)) from None
        yield bytes(gathered)


def archive(workspace: Workspace, images: Sequence[int]) -> Archive:
    """The zip of some images. InputRefused: none was named. NotFound: one of them is not there."""
    if not images:
        raise InputRefused("No picture was chosen.", remedy="Choose at least one, then try again.", thing="images")
    wanted = list(dict.fromkeys(images))
    files: list[tuple[str, Path]] = []
    lines: list[str] = []
    taken: set[str] = set()
    for start in range(0, len(wanted), AT_ONCE):
        for image, generation, subjects in _rows(workspace, wanted[start : start + AT_ONCE]):
            name, note = "", ""
            try:
                picture = stored(workspace, image.digest, image_stem(image.generation, image.position, image.seed))
            except NotFound as missing:
                note = str(missing)
            else:
                # The names hold a part of a generation's id, which two may share.
                name = picture.name if picture.name not in taken else f"{image.id}-{picture.name}"
                taken.add(name)
                files.append((name, picture.path))
            lines.append(json.dumps(_facts(image, generation, subjects, name, note), ensure_ascii=False))
    return Archive(files, ("\n".join(lines) + "\n").encode())


def _rows(workspace: Workspace, wanted: list[int]) -> Iterator[tuple[ImageRow, GenerationRow, list[str]]]:
    with workspace.database.read() as session:
        query = select(ImageRow, GenerationRow).join(GenerationRow, GenerationRow.id == ImageRow.generation)
        found = {
            image.id: (image, generation)
            for image, generation in session.execute(query.where(ImageRow.id.in_([n for n in wanted if n < 2**63])))
        }
        generations = {generation.id for _, generation in found.values()}
        shown: dict[str, list[str]] = {}
        for name, subject in session.execute(
            select(GenerationSubjectRow.generation, GenerationSubjectRow.subject)
            .where(GenerationSubjectRow.generation.in_(generations))
            .order_by(GenerationSubjectRow.subject)
        ):
            shown.setdefault(name, []).append(subject)
        for number in wanted:
            if number not in found:
                raise NotFound(
                    f"There is no image {number}.", remedy="List them: limner images list", thing=str(number)
                )
            image, generation = found[number]
            yield image, generation, shown.get(generation.id, [])


def _facts(image: ImageRow, generation: GenerationRow, subjects: list[str], name: str, note: str) -> Mapping[str, Any]:
    """A line of the metadata: every field that is stored of how the picture was made."""
    facts = {
        "file": name,
        "image": image.id,
        "generation": image.generation,
        "position": image.position,
        "sha256": image.digest,
        "media_type": image.media_type,
        "width": image.width,
        "height": image.height,
        "made_at": image.created_at.isoformat(),
        "seconds": image.seconds,
        "favourite": image.favourite,
        "generator": image.generator,
        "base": generation.base,
        "prompt": generation.prompt,
        "loras": generation.loras,
        "subjects": subjects,
        "seed": image.seed,
        "steps": generation.steps,
        "guidance": generation.guidance,
        "count": generation.count,
    }
    return {**facts, "problem": note} if note else facts
