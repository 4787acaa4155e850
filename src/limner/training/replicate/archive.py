"""Takes the weights, and nothing else, out of the tar that Replicate gives.

The tar also holds the captions, which tell about the photos. No member is ever written under its own name.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from limner.atomic_file import atomic_file
from limner.errors import StorageFailed, WorkFailed

__all__ = ["MOST_WEIGHTS", "DamagedArchive", "take_weights"]

MOST_WEIGHTS = 6 * 10**9
MOST_MEMBERS = 20_000
_CHUNK = 1 << 20
_SAFETENSORS = ".safetensors"


class DamagedArchive(WorkFailed):
    """It did not arrive as it was sent: fetching it again may mend that."""


def take_weights(given: Path, into: Path) -> Path:
    """Write the only ``.safetensors`` of a tar to ``into``, whole or not at all; bare weights are taken as they are.

    Whether it is a lora is for others to say. DamagedArchive: it broke on the way. WorkFailed: there are no weights in
    it, several, or it plays tricks.
    """
    try:
        if not _is_tar(given):
            _check_bare(given)
            os.replace(given, into)  # noqa: PTH105 - the atomic rename is the point
            return into
        with tarfile.open(given, "r:*") as tar:
            member = _only_weights(tar)
            with atomic_file(into) as file:
                _copy(tar, member, file)
    except (tarfile.TarError, EOFError, ValueError) as failure:
        raise _damaged(f"it arrived damaged ({type(failure).__name__})") from failure
    except OSError as failure:
        if failure.errno is None:
            # a damaged gzip or bzip2 stream
            raise _damaged("it arrived damaged") from failure
        raise StorageFailed(
            f"The weights cannot be written to {into.parent}: {failure.strerror}.",
            remedy="Free some space, then let the job go on.",
            thing=str(into.parent),
        ) from failure
    return into


def _is_tar(path: Path) -> bool:
    with path.open("rb") as stream:
        head = stream.read(9)
    # A safetensors file begins with its header's length and a brace; no tar does.
    return not (len(head) == 9 and head[8:] == b"{")


def _check_bare(path: Path) -> None:
    if path.stat().st_size > MOST_WEIGHTS:
        raise _refused(f"the weights have {path.stat().st_size / 1e9:.1f} GB, more than any lora", "Look at it there.")


def _only_weights(tar: tarfile.TarFile) -> tarfile.TarInfo:
    """The one member that holds weights."""
    found: list[tarfile.TarInfo] = []
    total = 0
    for count, member in enumerate(tar, start=1):
        total += max(member.size, 0)
        if count > MOST_MEMBERS or total > 2 * MOST_WEIGHTS:
            raise _refused("it unpacks to more than any training makes", "Look at it there; nothing was unpacked.")
        if not member.name.lower().endswith(_SAFETENSORS) or PurePosixPath(member.name).name.startswith("._"):
            continue
        path = PurePosixPath(member.name)
        if path.is_absolute() or ".." in path.parts or "\\" in member.name or "\0" in member.name:
            raise _refused("its weights have a path that leads out of it", "Nothing was unpacked. Tell the vendor.")
        if not member.isreg():
            raise _refused(
                "what should be its weights is a link or a device and no file", "Nothing was unpacked. Tell the vendor."
            )
        if not 0 < member.size <= MOST_WEIGHTS:
            size = f"{member.size / 1e9:.1f} GB" if member.size else "no bytes"
            raise _refused(f"its weights have {size}", "Nothing was unpacked. Train again, or with another trainer.")
        found.append(member)
    if not found:
        raise _refused("it holds no .safetensors file", "Train again, or with another trainer.")
    if len(found) > 1:
        names = ", ".join(PurePosixPath(member.name).name for member in found[:4])
        raise _refused(
            f"it holds {len(found)} .safetensors files ({names}) and does not say which one is meant",
            "Look at it there.",
        )
    return found[0]


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, out: BinaryIO) -> None:
    source = tar.extractfile(member)
    if source is None:
        raise _damaged("its weights cannot be read")
    written = 0
    with source:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > MOST_WEIGHTS:
                raise _refused("its weights are larger than it says", "Nothing was kept. Tell the vendor.")
            out.write(chunk)
    if written != member.size:
        raise _damaged("it arrived cut short")


def _damaged(what: str) -> DamagedArchive:
    return DamagedArchive(
        f"What Replicate gave for this training cannot be used: {what}.",
        remedy="Let the job go on: it is fetched again, and not paid again.",
        thing="weights",
    )


def _refused(what: str, remedy: str) -> WorkFailed:
    return WorkFailed(f"What Replicate gave for this training cannot be used: {what}.", remedy=remedy, thing="weights")
