"""Uploads that resume, as tus 1.0.0 says: creation, also with the first bytes, checksum, expiration, termination."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from email.utils import format_datetime
from types import TracebackType
from typing import Annotated, Protocol

from fastapi import APIRouter, Body, Depends, HTTPException, Path, Query, Request
from fastapi.responses import Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from limner.errors import InputRefused, LimnerError
from limner.records import Job, Upload, UploadBatch
from limner.studio import Studio
from limner.web.api.path_parameters import started
from limner.web.api.route import ApiRoute
from limner.web.visit import StudioOf

__all__ = ["router"]

router = APIRouter(prefix="/uploads", tags=["uploads"], route_class=ApiRoute)

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
BYTES = "application/offset+octet-stream"
PIECE = 4 << 20
"""Bytes that are gathered before a thread writes them: most photos are one piece."""
MOST_CHECKED = 64 << 20
MOST_DRAINED = 16 << 20
MOST_DIGESTS = 1_000
MOST_METADATA = 8_000
NAMES = ("name", "filename")


async def _speaks_tus(request: Request) -> None:
    if request.headers.get("tus-resumable") != VERSION:
        headers = {"Tus-Version": VERSION, "Tus-Resumable": VERSION}
        raise HTTPException(412, "This server speaks tus 1.0.0: send Tus-Resumable: 1.0.0", headers=headers)


class _TooLarge(InputRefused):
    """More than is taken."""

    status = 413
    code = "upload-too-large"


class _NotBytes(InputRefused):
    """The body's type is not tus's."""

    status = 415
    code = "not-an-upload"


class _ChecksumDiffers(InputRefused):
    """The piece arrived with other bytes than were sent; nothing of it was kept."""

    status = 460
    code = "checksum-differs"


Tus = Depends(_speaks_tus)
BatchId = Annotated[str, Path(min_length=1, max_length=80, description="The batch's id.")]
UploadId = Annotated[str, Path(min_length=1, max_length=80, description="The upload's id.")]


class Receiving(Protocol):
    """What takes the bytes of one upload."""

    @property
    def record(self) -> Upload: ...
    @property
    def offset(self) -> int: ...
    def write(self, *pieces: bytes | bytearray) -> int: ...
    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@router.options("", operation_id="get_upload_options", status_code=204, summary="What of tus is spoken")
def options(studio: StudioOf) -> Response:
    return Response(
        status_code=204,
        headers={
            "Tus-Resumable": VERSION,
            "Tus-Version": VERSION,
            "Tus-Extension": EXTENSIONS,
            "Tus-Max-Size": str(studio.settings.max_upload_bytes),
            "Tus-Checksum-Algorithm": "sha256",
        },
    )


@router.post(
    "/batches", operation_id="open_batch", status_code=201, summary="Open a batch for files that are dropped together"
)
def open_batch(studio: StudioOf, subject: Annotated[str, Body(embed=True, max_length=64)]) -> UploadBatch:
    return studio.uploads.open(subject)


@router.post("/known", operation_id="find_known_files", summary="Which files are photos of the subject already")
def known(
    studio: StudioOf,
    subject: Annotated[str, Body(max_length=64)],
    digests: Annotated[
        list[Annotated[str, Field(max_length=64)]],
        Body(max_length=MOST_DIGESTS, description="SHA-256 of files, hexadecimal"),
    ],
) -> dict[str, str]:
    return studio.uploads.known(subject, digests)


@router.get("", operation_id="list_batches", summary="The batches of a subject that were not taken in yet")
def pending(studio: StudioOf, subject: Annotated[str, Query(max_length=64)]) -> list[UploadBatch]:
    return studio.uploads.pending(subject)


@router.get("/batches/{batch}", operation_id="get_batch", summary="A batch and its files")
def batch(studio: StudioOf, batch: BatchId) -> UploadBatch:
    return studio.uploads.batch(batch)


@router.post(
    "/batches/{batch}/commit",
    operation_id="commit_batch",
    status_code=202,
    summary="Take a batch in, if all of it has arrived",
)
def commit(
    response: Response,
    studio: StudioOf,
    batch: BatchId,
    count: Annotated[int, Body(embed=True, ge=1, le=1_000_000)],
    replace_captions: Annotated[
        bool, Body(embed=True, description="Captions that differ go in place of those that photos have.")
    ] = False,
    captions_from_photos: Annotated[
        bool, Body(embed=True, description="Also take what the photos' own metadata says of them.")
    ] = False,
) -> Job:
    job = studio.uploads.commit(
        batch, count, replace_captions=replace_captions, captions_from_photos=captions_from_photos
    )
    return started(response, job)


@router.delete("/batches/{batch}", operation_id="delete_batch", status_code=204, summary="Give a batch up")
def remove_batch(studio: StudioOf, batch: BatchId) -> None:
    studio.uploads.remove_batch(batch)


@router.post(
    "",
    operation_id="create_upload",
    response_class=Response,
    status_code=201,
    dependencies=[Tus],
    summary="Announce a file, and send its first bytes if you like",
)
async def create(request: Request, studio: StudioOf) -> Response:
    if "upload-defer-length" in request.headers:
        raise InputRefused("A file's size must be said first.", remedy="Send Upload-Length.", thing="Upload-Length")
    size = _number(request, "upload-length")
    if size > studio.settings.max_upload_bytes:
        raise _TooLarge(
            f"A file may have {studio.settings.max_upload_bytes:,} bytes.",
            remedy="Send a smaller file, or raise LIMNER_MAX_UPLOAD_BYTES.",
            thing="Upload-Length",
        )
    said = _metadata(request.headers.get("upload-metadata", ""))
    position = said.get("position", "")
    brings = request.headers.get("content-type") == BYTES and size > 0 and "upload-checksum" not in request.headers
    at = int(position) if position.isascii() and position.isdecimal() and len(position) < 10 else None
    name = next(filter(None, (said.get(key) for key in NAMES)), "")
    begin = studio.uploads.arrive if brings else studio.uploads.add

    def announce() -> Upload | Receiving:
        made = begin(
            said.get("subject", ""), said.get("batch", ""), name, size, digest=said.get("sha256", ""), position=at
        )
        if not isinstance(made, Upload):
            made.__enter__()
        return made

    try:
        upload = await run_in_threadpool(announce)
    except LimnerError:
        # Who is still sending would see a broken connection instead of the reason.
        await _drain(request)
        raise
    if not isinstance(upload, Upload):
        upload = await _receive(request, upload)
    else:
        # The same announcement again: what it brings is here already, so its sender is told how much.
        await _drain(request)
    return _answer(201, upload, Location=f"{request.url.path.rstrip('/')}/{upload.id}")


@router.head(
    "/{upload}",
    response_class=Response,
    operation_id="get_upload_offset",
    dependencies=[Tus],
    summary="How much of a file is here",
)
def offset(studio: StudioOf, upload: UploadId) -> Response:
    found = studio.uploads.get(upload)
    return _answer(200, found, **{"Upload-Length": str(found.byte_size), "Cache-Control": "no-store"})


@router.get("/{upload}", operation_id="get_upload", summary="What is known of a file that is on its way in")
def show(studio: StudioOf, upload: UploadId) -> Upload:
    return studio.uploads.get(upload)


@router.patch(
    "/{upload}", operation_id="send_bytes", status_code=204, dependencies=[Tus], summary="Send bytes from an offset on"
)
async def send(request: Request, studio: StudioOf, upload: UploadId) -> Response:
    if request.headers.get("content-type") != BYTES:
        raise _NotBytes("The bytes of a file come in another type.", remedy=f"Send Content-Type: {BYTES}.")
    at = _number(request, "upload-offset")
    found = await run_in_threadpool(studio.uploads.get, upload)
    return _answer(204, await _take(request, studio, found, at))


@router.delete("/{upload}", operation_id="delete_upload", status_code=204, dependencies=[Tus], summary="Give a file up")
def remove(studio: StudioOf, upload: UploadId) -> Response:
    studio.uploads.remove(upload)
    return Response(status_code=204, headers={"Tus-Resumable": VERSION})


async def _take(request: Request, studio: Studio, upload: Upload, at: int) -> Upload:
    """Write the body from ``at`` on; a connection that breaks off leaves what came, to be gone on with."""
    checksum = request.headers.get("upload-checksum", "")
    if checksum:
        return await _take_checked(request, studio, upload, at, checksum)

    def begin() -> Receiving:
        receiver = studio.uploads.receive(upload.id, at)
        receiver.__enter__()
        return receiver

    return await _receive(request, await run_in_threadpool(begin))


async def _receive(request: Request, receiver: Receiving) -> Upload:
    """Write the body to a receiver that was entered; a connection that breaks off leaves what came."""
    parts: list[bytes] = []
    broken: BaseException | None = None
    try:
        await _write_pieces(request, receiver, parts)
    except BaseException as failure:
        broken = failure

    def end() -> None:
        try:
            if broken is None or isinstance(broken, ClientDisconnect):
                receiver.write(*parts)
        except BaseException as failure:
            receiver.__exit__(type(failure), failure, None)
            raise
        receiver.__exit__(type(broken) if broken else None, broken, None)

    await asyncio.shield(run_in_threadpool(end))
    if broken and not isinstance(broken, ClientDisconnect):
        raise broken
    return _at(receiver.record, receiver.offset)


async def _write_pieces(request: Request, receiver: Receiving, parts: list[bytes]) -> None:
    """Write a body but for its last piece, which is left in ``parts``; while one is written, the next is gathered."""
    writing: asyncio.Task[int] | None = None
    size = 0
    try:
        async for part in request.stream():
            parts.append(part)
            size += len(part)
            if size >= PIECE:
                if writing:
                    await writing
                writing = asyncio.create_task(asyncio.to_thread(receiver.write, *parts))
                parts.clear()
                size = 0
    finally:
        if writing:
            await writing


async def _take_checked(request: Request, studio: Studio, upload: Upload, at: int, checksum: str) -> Upload:
    """Write a body only if it is the one that its sender means; it is held in memory until then."""
    algorithm, _, value = checksum.partition(" ")
    if algorithm != "sha256":
        raise InputRefused("That checksum is not known here.", remedy="Send sha256, or none.", thing="Upload-Checksum")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_CHECKED:
            raise _TooLarge("A piece with a checksum may have 64 MiB.", remedy="Send smaller pieces.")
    if base64.b64encode(hashlib.sha256(body).digest()).decode() != value.strip():
        raise _ChecksumDiffers("The piece arrived damaged and was not kept.", remedy="Send it again.", thing=upload.id)

    def write() -> int:
        with studio.uploads.receive(upload.id, at) as receiver:
            return receiver.write(body)

    return _at(upload, await run_in_threadpool(write))


def _at(upload: Upload, received: int) -> Upload:
    return Upload(**{**asdict(upload), "received": received})


async def _drain(request: Request) -> None:
    """Read what is left of the body, as far as a piece goes."""
    read = 0
    async for part in request.stream():
        read += len(part)
        if read > MOST_DRAINED:
            break


def _answer(status: int, upload: Upload, **headers: str) -> Response:
    expires = format_datetime(upload.expires_at, usegmt=True)
    said = {"Tus-Resumable": VERSION, "Upload-Offset": str(upload.received), "Upload-Expires": expires}
    return Response(status_code=status, headers={**said, **headers})


def _number(request: Request, header: str) -> int:
    value = request.headers.get(header, "")
    if not value.isascii() or not value.isdecimal() or len(value) > 15:
        raise InputRefused(f"{header.title()} is no number.", remedy="Send it as digits.", thing=header.title())
    return int(value)


def _metadata(header: str) -> Mapping[str, str]:
    """The pairs of Upload-Metadata. InputRefused: they are not base64 of UTF-8."""
    if len(header) > MOST_METADATA:
        raise InputRefused("Upload-Metadata is too long.", remedy="Send shorter names.", thing="Upload-Metadata")
    said: dict[str, str] = {}
    for pair in filter(None, (pair.strip() for pair in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            # A byte beyond ASCII is a plain ValueError; those of bad base64 and bad UTF-8 are kinds of it.
            text = base64.b64decode(value, validate=True).decode()
        except ValueError:
            raise _unreadable(key, "Send each value as base64 of UTF-8.") from None
        if key in said:
            raise _unreadable(key, "Send each key once.")
        # Of a file's name what cannot be shown is left out later; its photo is no worse for it.
        if "\x00" in text and key not in NAMES:
            raise _unreadable(key, "Send text without NUL.")
        said[key] = text
    return said


def _unreadable(key: str, remedy: str) -> InputRefused:
    return InputRefused(f"Upload-Metadata cannot be read at {key[:40]!a}.", remedy=remedy, thing="Upload-Metadata")
