"""Packages: one dataset in the layout of a trainer, byte for byte the same each time."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from limner.datasets.canonical import sha256
from limner.datasets.packages.ai_toolkit import ai_toolkit_files
from limner.datasets.packages.contents import File, PackageOptions, Picture, pictures
from limner.datasets.packages.diffusers import diffusers_files
from limner.datasets.packages.fal import fal_files
from limner.datasets.packages.kohya import kohya_files
from limner.datasets.packages.replicate import replicate_files
from limner.datasets.staging import staged_file, staged_folder
from limner.errors import Conflict, InputRefused
from limner.types import DatasetManifest

__all__ = ["LAYOUTS", "Package", "PackageOptions", "package"]

Layout = Callable[[DatasetManifest, Iterator[Picture], PackageOptions], Iterator[File]]

_ZIPS: dict[str, Layout] = {"replicate": replicate_files, "fal": fal_files}
_FOLDERS: dict[str, Layout] = {"kohya": kohya_files, "ai-toolkit": ai_toolkit_files, "diffusers": diffusers_files}
LAYOUTS = (*_ZIPS, *_FOLDERS)


@dataclass(frozen=True, slots=True)
class Package:
    """A package on disk: a zip or a folder, its file names, and the bytes of all its files (of the zip itself).

    ``digest`` is the SHA-256 of a zip; of a folder that of its listing, a line ``<sha256>  <name>`` a file, by name.
    """

    layout: str
    path: Path
    digest: str
    byte_size: int
    files: tuple[str, ...]


def package(
    layout: str,
    manifest: DatasetManifest,
    photo_path: Callable[[str], Path],
    destination: Path,
    *,
    options: PackageOptions | None = None,
    zipped: bool = False,
) -> Package:
    """Write a dataset in a layout. The same dataset and options give the same bytes, whenever and wherever.

    ``destination`` is the zip, or a folder to put it in under the subject's name; for layouts that are folders it is
    the folder itself, new or empty, or with ``zipped`` a zip too. It appears whole or not at all. InputRefused: no such
    layout. Conflict: something else is there. StorageFailed: the disk is full, or a stored photo is lost.
    """
    if layout not in LAYOUTS:
        raise InputRefused(f"There is no layout '{layout}'.", remedy=f"One of {', '.join(LAYOUTS)}.", thing=layout)
    options = options or PackageOptions()
    packed = pictures(manifest, photo_path, options)
    if layout in _FOLDERS and not zipped:
        return _write_folder(layout, _FOLDERS[layout](manifest, packed, options), destination)
    if destination.is_dir():
        destination = destination / f"{manifest.subject.slug}-{layout}.zip"
    return _write_zip(layout, {**_ZIPS, **_FOLDERS}[layout](manifest, packed, options), destination)


def _write_zip(layout: str, contents: Iterable[File], destination: Path) -> Package:
    names: list[str] = []
    with staged_file(destination) as partial:
        # Pictures do not shrink, and stored bytes depend on no version of zlib.
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for name, data in contents:
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.create_system, entry.external_attr = 3, 0o100644 << 16
                archive.writestr(entry, data)
                names.append(name)
        with partial.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        byte_size = partial.stat().st_size
        if destination.exists() and _file_digest(destination) != digest:
            raise _taken(destination)
    return Package(layout, destination, digest, byte_size, tuple(names))


def _write_folder(layout: str, contents: Iterable[File], destination: Path) -> Package:
    listing: dict[str, tuple[str, int]] = {}
    with staged_folder(destination) as partial:
        for name, data in contents:
            path = partial.joinpath(*PurePosixPath(name).parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            listing[name] = sha256(data), len(data)
        if _listing(destination) == listing:
            shutil.rmtree(destination)
    names = tuple(sorted(listing))
    digest = sha256("".join(f"{listing[name][0]}  {name}\n" for name in names))
    return Package(layout, destination, digest, sum(size for _, size in listing.values()), names)


def _listing(folder: Path) -> dict[str, tuple[str, int]]:
    found = (path for path in folder.rglob("*") if not path.is_dir()) if folder.is_dir() else ()
    return {path.relative_to(folder).as_posix(): (_file_digest(path), path.stat().st_size) for path in found}


def _file_digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _taken(destination: Path) -> Conflict:
    return Conflict(
        f"{destination} is there already and is not this package.",
        remedy="Name another place, or remove it first.",
        thing=str(destination),
    )
