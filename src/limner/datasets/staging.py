"""Staging: a file or folder is made beside its destination and appears there whole, or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from limner.errors import Conflict, StorageFailed

__all__ = ["staged_file", "staged_folder"]


@contextmanager
def staged_file(destination: Path) -> Iterator[Path]:
    """Give a path to write; afterwards it replaces ``destination``. A failure leaves what was there before.

    StorageFailed: the disk is full or refuses.
    """
    with _landing(destination) as partial:
        yield partial
        with partial.open("rb") as stream:
            os.fsync(stream.fileno())
        partial.replace(destination)


@contextmanager
def staged_folder(destination: Path, *, replace: bool = False) -> Iterator[Path]:
    """Give an empty folder to fill; afterwards it becomes ``destination``, which may be there only if it is empty.

    With ``replace`` whatever was there goes. Conflict: something is there. StorageFailed: the disk is full or refuses.
    """
    with _landing(destination) as partial:
        partial.mkdir()
        yield partial
        for file in partial.rglob("*"):
            if file.is_file():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
        if replace and destination.exists():
            shutil.rmtree(destination)
        if destination.is_dir() and not any(destination.iterdir()):
            destination.rmdir()
        if destination.exists():
            raise Conflict(
                f"{destination} is there already and is not empty.",
                remedy="Name another place, or remove it first.",
                thing=str(destination),
            )
        partial.rename(destination)


@contextmanager
def _landing(destination: Path) -> Iterator[Path]:
    partial = destination.with_name(f".{secrets.token_hex(6)}.partial")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        yield partial
    except OSError as failure:
        raise StorageFailed(
            f"{destination} could not be written: {failure.strerror or failure}.",
            remedy="Free some space, or name a place that you can write to.",
            thing=str(destination),
        ) from failure
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)
