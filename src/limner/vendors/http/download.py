"""Downloads: whole or not at all, taken up where they broke off, checked, and renamed into place in one step."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import shutil
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx2

from limner.atomic_file import sync_folder
from limner.errors import LimnerError, NotFound, StorageFailed, VendorBusy, VendorFailed
from limner.vendors.http.backoff import retry_delay
from limner.vendors.http.decompression_limit import LEAST_BYTES, PATIENCE_SECONDS, Swells, refuse_swelling
from limner.vendors.http.errors import place_of, unreachable
from limner.vendors.vendor import Vendor

__all__ = ["Wanted", "fetch"]

TRIES = 6
"""Attempts in a row that bring nothing, after which a download is given up."""
MOST_TRIES = 60
MOST_WAIT = 90.0
PIECE = 2**20
EXPIRED = frozenset({401, 403, 404, 410})
_RANGE = re.compile(r"bytes\s+(\d+)-(\d+)/(\d+|\*)", re.IGNORECASE)
_PAGE = re.compile(rb"\s*<\s*(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is fetched: ``size`` (bytes) and ``sha256`` (hex) are checked if given; at most ``most`` bytes are taken."""

    url: str
    into: Path
    size: int | None
    sha256: str
    most: int

    @property
    def partial(self) -> Path:
        return self.into.with_name(f"{self.into.name}.partial")


class _Broken(Exception):
    """This attempt ended early; ``error`` is told if none succeeds, ``wait`` is what the server asked for."""

    def __init__(self, error: LimnerError, wait: float | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.wait = wait


class _GivenUp(Exception):
    """No further attempt is made; ``error`` is what the user is told."""

    def __init__(self, error: LimnerError) -> None:
        super().__init__(str(error))
        self.error = error


class _Progress:
    """What has arrived so far, on the disk and in the digest."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.have = 0
        self.validator = ""
        self.total: int | None = None
        self.resumed = False
        self._digest = hashlib.sha256()

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def take_up(self) -> None:
        """What an earlier run left; only a known digest can prove that it belongs to the same file."""
        if not self.wanted.sha256 or not self.wanted.partial.is_file():
            return
        with self.wanted.partial.open("rb") as left:
            while piece := left.read(PIECE):
                self._digest.update(piece)
                self.have += len(piece)
        self.resumed = self.have > 0

    def restart(self) -> None:
        self.have, self.validator, self.total, self.resumed = 0, "", None, False
        self._digest = hashlib.sha256()

    @property
    def can_resume(self) -> bool:
        return self.have > 0 and bool(self.validator or self.wanted.sha256)

    def write(self, sink: IO[bytes], piece: bytes) -> None:
        sink.write(piece)
        self._digest.update(piece)
        self.have += len(piece)


async def fetch(
    http: httpx2.AsyncClient,
    vendor: Vendor,
    wanted: Wanted,
    headers: Mapping[str, str],
    pause: Callable[[float], Awaitable[object]],
) -> Path:
    """Fetch the file and give its path. ``headers`` go to the first host only, not to where it redirects.

    NotFound: the address has expired or was never there. StorageFailed: the disk. VendorFailed: all else.
    """
    progress = _Progress(wanted)
    kept = False
    try:
        wanted.into.parent.mkdir(parents=True, exist_ok=True)
        await asyncio.to_thread(progress.take_up)
        await _attempts(http, vendor, progress, headers, pause)
        await asyncio.to_thread(_into_place, wanted)
        kept = True
    except OSError as failure:
        raise _storage(wanted, failure) from None
    except _GivenUp as end:
        # With a known digest the next run can go on from here.
        kept = bool(wanted.sha256) and progress.have > 0
        raise end.error from None
    finally:
        if not kept:
            with suppress(OSError):
                wanted.partial.unlink(missing_ok=True)
    return wanted.into


async def _attempts(
    http: httpx2.AsyncClient,
    vendor: Vendor,
    progress: _Progress,
    headers: Mapping[str, str],
    pause: Callable[[float], Awaitable[object]],
) -> None:
    idle = 0
    for _ in range(MOST_TRIES):
        before = progress.have
        try:
            await _attempt(http, vendor, progress, headers)
            _check(vendor, progress)
            return
        except _Broken as broken:
            idle = 0 if progress.have > before else idle + 1
            last = broken
        delay = last.wait if last.wait is not None else retry_delay(0, {}, None, idle)
        if idle >= TRIES or delay > MOST_WAIT:
            break
        await pause(delay)
    raise _GivenUp(last.error)


async def _attempt(http: httpx2.AsyncClient, vendor: Vendor, progress: _Progress, headers: Mapping[str, str]) -> None:
    wanted = progress.wanted
    if not progress.can_resume:
        progress.restart()
    asked = {**headers, "accept-encoding": "identity"}
    if progress.have:
        asked["range"] = f"bytes={progress.have}-"
        if progress.validator:
            asked["if-range"] = progress.validator
    try:
        async with (
            asyncio.timeout(PATIENCE_SECONDS) as patience,
            http.stream("GET", wanted.url, headers=asked, follow_redirects=True) as response,
        ):
            _admit(vendor, progress, response)
            await _receive(vendor, progress, response, patience)
    except TimeoutError:
        raise _Broken(_interrupted(vendor, progress, httpx2.ReadTimeout("it is too slow"))) from None
    except httpx2.TooManyRedirects:
        raise _failed(vendor, wanted, "its address leads in a circle", "Ask for a new address.") from None
    except (httpx2.UnsupportedProtocol, httpx2.InvalidURL):
        raise _failed(vendor, wanted, "its address is not one of the web", "Ask for a new address.") from None
    except Swells as failure:
        raise _failed(vendor, wanted, str(failure), "Look at it there.") from None
    except httpx2.HTTPError as failure:
        raise _Broken(_interrupted(vendor, progress, failure)) from None


def _admit(vendor: Vendor, progress: _Progress, response: httpx2.Response) -> None:
    """Look at status and headers before anything is written."""
    wanted, status = progress.wanted, response.status_code
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    names = {name.lower(): value for name, value in response.headers.items()}
    if status in EXPIRED:
        raise NotFound(
            f"{wanted.into.name} is not at its address at {vendor.title} any more (status {status}): "
            "such addresses expire, or the file was deleted.",
            remedy="Ask the vendor for the result again; if it is gone there too, it must be made again.",
            thing=wanted.into.name,
        )
    if status == 416:
        progress.restart()
        raise _Broken(_failed(vendor, wanted, "the server refuses to go on where it broke off", "Try again."), 0.0)
    if status in (408, 425, 429) or status >= 500:
        error = VendorBusy(
            f"{vendor.title} cannot give {wanted.into.name} now (status {status}).",
            remedy="Try again in a few minutes.",
            thing=wanted.into.name,
        )
        raise _Broken(error, retry_delay(status, names, None, 2))
    if status not in (200, 206):
        raise _failed(vendor, wanted, f"it answered with status {status}", "Ask for a new address.")
    if "html" in kind and wanted.into.suffix.lower() not in (".html", ".htm"):
        raise _Broken(_page(vendor, wanted))
    coded = names.get("content-encoding", "identity").lower() not in ("", "identity")
    length = _whole(names.get("content-length"))
    if status == 206:
        found = _RANGE.match(names.get("content-range", ""))
        if found is None or int(found[1]) != progress.have or coded:
            progress.restart()
            raise _Broken(_failed(vendor, wanted, "the server sent another part than asked for", "Try again."), 0.0)
        progress.resumed = True
        progress.total = int(found[3]) if found[3] != "*" else progress.total
    else:
        progress.restart()
        progress.total = None if coded else length
        tag = names.get("etag", "")
        progress.validator = "" if coded else tag if tag.startswith('"') else names.get("last-modified", "")
    _fits(vendor, progress)


def _fits(vendor: Vendor, progress: _Progress) -> None:
    wanted, total = progress.wanted, progress.total
    if total is None:
        return
    if wanted.size is not None and total != wanted.size:
        raise _failed(
            vendor, wanted, f"it has {total} bytes there and not {wanted.size}", "It was changed; look at it there."
        )
    if total > wanted.most:
        raise _too_large(vendor, wanted)
    free = shutil.disk_usage(wanted.into.parent).free
    if total - progress.have > free:
        raise StorageFailed(
            f"{wanted.into.name} needs {(total - progress.have) / 1e9:.2f} GB and {free / 1e9:.2f} GB are free.",
            remedy="Free some space, then try again; nothing is lost.",
            thing=str(wanted.into),
        )


async def _receive(vendor: Vendor, progress: _Progress, response: httpx2.Response, patience: asyncio.Timeout) -> None:
    wanted = progress.wanted
    fresh = progress.have == 0
    began, clock, moved = progress.have, asyncio.get_running_loop().time, 0
    with wanted.partial.open("wb" if fresh else "r+b") as sink:
        sink.seek(progress.have)
        gathered = bytearray()
        try:
            async for piece in response.aiter_bytes():
                if fresh and progress.have == 0 and not gathered and _PAGE.match(piece):
                    raise _Broken(_page(vendor, wanted))
                gathered += piece
                if progress.have + len(gathered) > wanted.most:
                    raise _too_large(vendor, wanted)
                refuse_swelling(response, progress.have + len(gathered) - began)
                if len(gathered) >= PIECE:
                    whole, gathered = bytes(gathered), bytearray()
                    await asyncio.to_thread(progress.write, sink, whole)
                if response.num_bytes_downloaded - moved >= LEAST_BYTES:
                    moved = response.num_bytes_downloaded
                    patience.reschedule(clock() + PATIENCE_SECONDS)
        finally:
            # What came before a break is kept, so that nothing is fetched twice.
            progress.write(sink, bytes(gathered))
        # All of it has come; what the disk takes is no fault of the server's.
        patience.reschedule(None)
        sink.truncate()
        await asyncio.to_thread(_to_disk, sink)


def _check(vendor: Vendor, progress: _Progress) -> None:
    """Whether all of it is there and it is the right file."""
    wanted = progress.wanted
    whole = wanted.size if wanted.size is not None else progress.total
    if whole is not None and progress.have < whole:
        raise _Broken(_interrupted(vendor, progress, None))
    if (whole is not None and progress.have > whole) or (wanted.sha256 and progress.sha256 != wanted.sha256):
        again = progress.resumed
        progress.restart()
        differs = "its digest is not the one that was announced" if wanted.sha256 else "it is longer than announced"
        error = _failed(vendor, wanted, differs, "Try again; if it stays so, the file was changed or damaged there.")
        # Parts of two versions do not make one file: once more from the start.
        raise _Broken(error, 0.0) if again else error


def _into_place(wanted: Wanted) -> None:
    wanted.partial.replace(wanted.into)
    with suppress(OSError):
        sync_folder(wanted.into.parent)


def _to_disk(sink: IO[bytes]) -> None:
    sink.flush()
    os.fsync(sink.fileno())


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 16 else None


def _interrupted(vendor: Vendor, progress: _Progress, failure: BaseException | None) -> LimnerError:
    wanted = progress.wanted
    if failure is not None and progress.have == 0:
        return unreachable(vendor, wanted.url, failure)
    whole = wanted.size if wanted.size is not None else progress.total
    of = f" of {whole}" if whole is not None else ""
    return _failed(
        vendor, wanted, f"it breaks off after {progress.have}{of} bytes", "Try again; it goes on where it broke off."
    )


def _page(vendor: Vendor, wanted: Wanted) -> VendorFailed:
    return _failed(
        vendor, wanted, "a web page came instead of the file", "The address may have expired: ask for the result again."
    )


def _too_large(vendor: Vendor, wanted: Wanted) -> VendorFailed:
    return _failed(
        vendor,
        wanted,
        f"it is larger than {wanted.most / 1e6:.0f} MB",
        "Look at it there: it is not what was expected.",
    )


def _failed(vendor: Vendor, wanted: Wanted, why: str, remedy: str) -> VendorFailed:
    return VendorFailed(
        f"{wanted.into.name} cannot be fetched from {vendor.title} at {place_of(wanted.url)}: {why}.",
        remedy=remedy,
        thing=wanted.into.name,
    )


def _storage(wanted: Wanted, failure: OSError) -> StorageFailed:
    full = failure.errno in (errno.ENOSPC, errno.EDQUOT)
    return StorageFailed(
        f"{wanted.into} cannot be written: {failure.strerror or failure}.",
        remedy="Free some space, then try again." if full else "Check the folder and its permissions.",
        thing=str(wanted.into),
    )
