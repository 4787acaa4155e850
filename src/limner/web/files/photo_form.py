"""Files that a plain form sends: written to the disk as they come, so that no size of them fills the memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from limner.errors import InputRefused, LimnerError, NotFound
from limner.records import Job
from limner.studio import Studio
from limner.web.files.multipart import FormParts, boundary_of, read_parts

__all__ = ["take_form"]


async def take_form(request: Request, studio: Studio, slug: str) -> Job:
    """Take in all files of a multipart form as one batch. InputRefused: it is none, broken, or holds no file."""
    boundary = boundary_of(request)
    if not boundary:
        raise InputRefused("No file came with the form.", remedy="Choose files, then send the form again.")
    batch = await run_in_threadpool(studio.uploads.open, slug)
    files = _Files(studio, slug, batch.id)
    try:
        await read_parts(request, boundary, files)
        if not files.count:
            raise InputRefused("No file was chosen.", remedy="Choose files or a folder, then send the form again.")
        from_photos = files.captions_from_photos
        return await run_in_threadpool(
            lambda: studio.uploads.commit(batch.id, files.count, captions_from_photos=from_photos)
        )
    except LimnerError:
        await asyncio.shield(run_in_threadpool(files.give_up))
        raise


class _Files(FormParts):
    """The parts that are files become uploads."""

    def __init__(self, studio: Studio, slug: str, batch: str) -> None:
        super().__init__()
        self._studio, self._slug, self._batch = studio, slug, batch
        self.count = 0
        self.captions_from_photos = False
        """Whether the box of this name was ticked; one that is not is no part of the form."""
        self._name = ""
        self._spool = studio.uploads.spool()
        self._spool.discard()

    def give_up(self) -> None:
        """Leave nothing behind."""
        self._spool.discard()
        with suppress(NotFound):
            self._studio.uploads.remove_batch(self._batch)

    def begin(self, name: str, filename: str) -> None:
        self._name = filename
        self.captions_from_photos |= name == "captions_from_photos" and not filename
        if filename:
            self._spool = self._studio.uploads.spool()

    def data(self, data: bytes) -> None:
        if self._name:
            self._spool.write(data)

    def end(self) -> None:
        if self._name:
            self._studio.uploads.keep(self._slug, self._batch, self._name, self._spool)
            self.count += 1
            self._name = ""
