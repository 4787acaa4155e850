"""Zips: what may be unpacked of them, and unpacking one entry with its limits counted, not believed."""

from __future__ import annotations

import lzma
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from types import TracebackType

from limner.errors import StorageFailed
from limner.photos.reading.formats import HEAD_BYTES, sniff
from limner.photos.reading.limits import IntakeLimits
from limner.photos.reading.not_photos import known_by_content
from limner.photos.reading.refusals import Refusal, refusal

__all__ = ["Member", "Unpacking", "looks_like_zip", "members"]

# Whatever a zip may hold raises one of these when it is read.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    UnicodeDecodeError,
    OSError,
)
# Zstandard is read from Python 3.14 on.
_METHODS_READ = {0, 8, 12, 14} | ({93} if hasattr(zipfile, "ZIP_ZSTANDARD") else set())
_METHODS = {
    1: "Shrink",
    6: "Implode",
    9: "Deflate64",
    12: "bzip2",
    14: "LZMA",
    20: "Zstandard",
    93: "Zstandard",
    94: "MP3",
    95: "xz",
    96: "JPEG",
    97: "WavPack",
    98: "PPMd",
    99: "AES",
}
_CHUNK = 1 << 20
# Small entries that compress well, such as flat drawings, are no bombs.
_HARMLESS_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a zip that may be unpacked; ``name`` is the zip's and the entry's."""

    name: str
    archive: Path
    info: zipfile.ZipInfo


def looks_like_zip(path: Path) -> bool:
    """Whether a file is meant as a zip, by its content, or by its name if it is no picture."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return path.suffix.lower() == ".zip"
    if head.startswith(b"PK\x03\x04") or path.suffix.lower() != ".zip":
        return head.startswith(b"PK\x03\x04")
    try:
        sniff(head)
    except Refusal:
        return True
    return False


def members(path: Path, limits: IntakeLimits) -> Iterator[tuple[zipfile.ZipInfo, Refusal | None]]:
    """The files in a zip, sorted by name, each with the reason why it may not be unpacked, or None.

    Refusal: the zip as a whole is broken, or a bomb.
    """
    _refuse_what_is_no_zip(path)
    try:
        with zipfile.ZipFile(path) as archive:
            found = archive.infolist()
    except _BROKEN as failure:
        raise _broken(failure) from None
    if not all(info.filename for info in found):
        raise _broken(zipfile.BadZipFile("an entry has no name"))
    unpacked = sum(info.file_size for info in found)
    packed = sum(info.compress_size for info in found)
    if len(found) > limits.max_zip_entries:
        raise _bomb(f"The zip has {len(found):,} entries, more than {limits.max_zip_entries:,}.")
    if unpacked > limits.max_zip_bytes:
        raise _bomb(f"The zip would unpack to {_size(unpacked)}, more than {_size(limits.max_zip_bytes)}.")
    # Entries that share their bytes make a bomb whose single entries look harmless.
    if unpacked > _HARMLESS_BYTES and max(packed, path.stat().st_size) * limits.max_zip_ratio < unpacked:
        raise _bomb(f"The zip is {_size(path.stat().st_size)} and would unpack to {_size(unpacked)}.")
    for info in sorted(found, key=lambda info: (info.filename.split("/"), info.header_offset)):
        if not info.is_dir():
            yield info, _reason(info, limits)


def _refuse_what_is_no_zip(path: Path) -> None:
    """Refusal: by its content it is something else, such as another archive that is called .zip, or a part of one."""
    try:
        with path.open("rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError as failure:
        why = failure.strerror or failure
        raise refusal("unreadable", f"The zip cannot be read: {why}.", "See who may read it.") from failure
    if head.startswith((b"PK\x07\x08", b"PK00PK")):
        raise refusal(
            "broken-zip", "It is the first part of a zip in several parts.", "Join the parts, or unpack them."
        )
    # A zip may have a program before it, and an empty one begins with its end.
    if not head.startswith(b"PK") and not zipfile.is_zipfile(path) and (other := known_by_content(head)):
        raise other


def _reason(info: zipfile.ZipInfo, limits: IntakeLimits) -> Refusal | None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    windows = PureWindowsPath(info.filename)
    parts = {*PurePosixPath(info.filename).parts, *windows.parts}
    if ".." in parts or windows.drive or windows.root or info.filename.startswith("/"):
        return refusal("unsafe-path", "Its path in the zip leads out of the folder.", "Pack the zip anew.")
    if kind == stat.S_IFLNK:
        return refusal("link-in-zip", "It is a link and no file.", "Pack the file itself.")
    if kind not in (0, stat.S_IFREG):
        return refusal("not-a-file", "It is a device, pipe or socket and no file.", "Leave it out of the zip.")
    if info.flag_bits & 1:
        return refusal("encrypted", "It is locked with a password.", "Unpack the zip yourself and name the folder.")
    if info.compress_type not in _METHODS_READ:
        method = _METHODS.get(info.compress_type, f"the method {info.compress_type}")
        return refusal(
            "zip-method",
            f"It was packed by {method}, which is not unpacked here.",
            "Unpack the zip yourself and name the folder.",
        )
    if windows.suffix.lower() == ".zip":
        return refusal(
            "zip-in-zip", "A zip inside a zip is not opened.", "Unpack the outer zip and name the inner one."
        )
    if info.file_size > limits.max_file_bytes:
        return refusal("file-too-large", f"It would unpack to {_size(info.file_size)}.", "Save a smaller picture.")
    if info.file_size > _HARMLESS_BYTES and info.compress_size * limits.max_zip_ratio < info.file_size:
        return _bomb(f"{_size(info.compress_size)} would unpack to {_size(info.file_size)}.")
    return None


class Unpacking:
    """An open zip. Use it as a context manager."""

    def __init__(self, path: Path, limits: IntakeLimits) -> None:
        """Refusal: the zip cannot be opened (any more)."""
        self.path = path
        self._limits = limits
        try:
            self._archive = zipfile.ZipFile(path)
        except _BROKEN as failure:
            raise _broken(failure) from None

    def __enter__(self) -> Unpacking:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.close()

    def unpack(self, member: Member, target: Path) -> None:
        """Write one entry to ``target``. Refusal: it is damaged or no picture. StorageFailed: the disk has no room."""
        try:
            with target.open("wb") as output:
                for data in self._chunks(member.info):
                    output.write(data)
        except OSError as failure:
            target.unlink(missing_ok=True)
            raise StorageFailed(
                f"A zip cannot be unpacked to {target.parent}: {failure.strerror or failure}.",
                remedy="Free some space and add the photos again; those taken in so far are kept.",
                thing=str(target.parent),
            ) from failure
        except Refusal:
            target.unlink(missing_ok=True)
            raise

    def _chunks(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The entry's bytes. Refusal: it is damaged, no picture, or longer than the zip said."""
        try:
            with self._archive.open(info) as stream:
                data = stream.read(HEAD_BYTES)
                # A video or a nested zip is not unpacked at all.
                sniff(data, info.filename)
                read = len(data)
                while data:
                    yield data
                    data = stream.read(_CHUNK)
                    read += len(data)
                    if read > self._limits.max_file_bytes:
                        raise _bomb("It unpacks to more than its zip says.")
        except _BROKEN as failure:
            raise _broken(failure) from None


def _bomb(message: str) -> Refusal:
    return refusal("zip-bomb", message, "If it is sound, unpack it yourself and name the folder.")


def _broken(failure: BaseException) -> Refusal:
    why = str(failure).splitlines()[0][:200] if str(failure) else type(failure).__name__
    return refusal("broken-zip", f"The zip cannot be read: {why}.", "Copy it anew from where it came.")


def _size(count: int) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 10_000 or unit == "GB":
            return f"{count:,} {unit}"
        count //= 1000
    raise AssertionError
