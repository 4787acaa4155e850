"""Pictures for taking away: a zip of originals with all that is known of them, and a copy that tells only of AI."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from limner.errors import InputRefused, NotFound
from limner.operations.gallery.picture_files import image_stem, stored
from limner.operations.home.workspace import Workspace
from limner.store.models import GenerationRow, GenerationSubjectRow, ImageRow

__all__ = ["Archive", "archive"]

CHUNK = 256 * 1024
METADATA = "metadata.jsonl"
AT_ONCE = 500
"""Images that are looked up by one query."""
_EARLIEST = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip that is made while it is read: ``byte_size`` is known before, nothing is kept beside it.

    Each picture stands in it as it is stored, under a readable name, and ``metadata.jsonl`` has a line for each.
    """

    files: tuple[tuple[str, Path, int, datetime], ...]
    metadata: bytes

    @property
    def byte_size(self) -> int:
        """The bytes that ``chunks`` gives: the zip is not compressed, because pictures are already."""
        at = directory = 0
        sizes = [(METADATA, len(self.metadata)), *((name, size) for name, _, size, _ in self.files)]
        for name, size in sizes:
            # Local head, bytes, descriptor; a line in the directory, longer where the place needs eight bytes.
            directory += 46 + len(name) + (12 if at > zipfile.ZIP64_LIMIT else 0)
            at += 30 + len(name) + size + 16
        large = len(sizes) > zipfile.ZIP_FILECOUNT_LIMIT or at > zipfile.ZIP64_LIMIT or directory > zipfile.ZIP64_LIMIT
        return at + directory + 22 + (76 if large else 0)

    def chunks(self) -> Iterator[bytes]:
        """The zip's bytes, made while they are taken. NotFound: a picture was erased meanwhile."""
        sink = _Sink()
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as packed:
            packed.writestr(zipfile.ZipInfo(METADATA, _EARLIEST), self.metadata)
            for name, path, size, at in self.files:
                info = zipfile.ZipInfo(name, max(at.timetuple()[:6], _EARLIEST))
                info.file_size = size
                try:
                    with path.open("rb") as stream, packed.open(info, "w") as into:
                        while chunk := stream.read(CHUNK):
                            into.write(chunk)
                            yield from sink.take(CHUNK)
                except FileNotFoundError:
                    raise NotFound(f"{name} was erased while the zip was made.", thing=name) from None
        yield from sink.take(1)


class _Sink(io.RawIOBase):
    """Where the zip is written to: what is taken from here is forgotten."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held += data
        return len(data)

    def take(self, least: int) -> Iterator[bytes]:
        if len(self._held) >= least:
            taken = bytes(self._held)
            self._held.clear()
            yield taken


def archive(workspace: Workspace, images: Sequence[int]) -> Archive:
    """The zip of some images. InputRefused: none was named. NotFound: one of them is not there."""
    if not images:
        raise InputRefused("No picture was chosen.", remedy="Choose at least one, then try again.", thing="images")
    wanted = list(dict.fromkeys(images))
    files: list[tuple[str, Path, int, datetime]] = []
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
                files.append((name, picture.path, picture.path.stat().st_size, image.created_at))
            lines.append(json.dumps(_facts(image, generation, subjects, name, note), ensure_ascii=False))
    return Archive(tuple(files), ("\n".join(lines) + "\n").encode())


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
