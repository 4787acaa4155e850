"""The files of a batch of uploads as a folder that the intake reads, under names that are safe on every disk.

A name from outside is text. What it says of folders and stems is kept, so that captions find their photos; the rest
of it is replaced where it is no plain file name. The report speaks of the files by the names that they came with.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from limner.ignored_files import is_device_name, is_hidden
from limner.photos import IntakeLimits, Source, find_sources
from limner.photos.reading.sources import Sources, printable
from limner.records import Upload

__all__ = ["Drop", "lay_out", "safe_path", "shown_name"]

LONGEST_NAME = 1_000
LONGEST_PART = 100
MOST_FOLDERS = 20
_PLAIN = re.compile(r"[^\x00-\x1f\x7f/\\:*?\"<>|]+")
_TABLES = (".csv", ".tsv", ".jsonl")
_WORDS = (*_TABLES, ".json", ".txt", ".caption")


def shown_name(name: str) -> str:
    """A name from outside as one line of text: what cannot be seen or turns the line around is replaced."""
    return printable(unicodedata.normalize("NFC", name)[:LONGEST_NAME]).strip() or "unnamed"


def safe_path(name: str) -> tuple[str, ...]:
    """The parts of a path below a folder for a name from outside, never outside it; the last is the file's."""
    parts = [part for part in re.split(r"[/\\]+", shown_name(name)) if part.strip(" .")]
    folders = [_safe(part, "") for part in parts[:-1][-MOST_FOLDERS:]]
    stem, dot, suffix = (parts[-1] if parts else "unnamed").rpartition(".")
    if not dot or len(suffix) > 10 or not suffix.isalnum():
        return (*folders, _safe(parts[-1] if parts else "unnamed", ""))
    return (*folders, _safe(stem, f".{suffix}"))


def _safe(stem: str, suffix: str) -> str:
    """A stem that is no plain name gets a mark made from it, so that the same stem is always the same."""
    plain = stem == stem.strip(" .") and bool(_PLAIN.fullmatch(stem)) and len(stem.encode()) <= LONGEST_PART
    if plain and not stem.startswith("~"):
        return f"{stem}{suffix}"
    kept = re.sub(r"[^\w-]+", "_", stem).strip("_")[:40]
    mark = hashlib.sha256(stem.encode()).hexdigest()[:8]
    return f"{kept or 'file'}-{mark}{suffix}"


@dataclass(frozen=True, slots=True)
class Drop:
    """What the intake is to read, with the names that the files came with."""

    folder: Path
    paths: tuple[str, ...]
    zips: tuple[str, ...]
    captions: tuple[str, ...]
    names: Mapping[str, str]
    """The name to show for each file, by its path."""
    digests: Mapping[str, str]
    """The digest of each file, by the name that is shown."""

    def sources(self, scratch: Path, limits: IntakeLimits) -> Renamed:
        """The photos in it, by the names that they came with."""
        return Renamed(find_sources(self.paths, scratch, limits), self)

    def shown(self, path: str) -> str:
        """The name that a path of the folder, or of a zip in it, is shown by."""
        if path in self.names:
            return self.names[path]
        for file in self.zips:
            if path.startswith(f"{file}/"):
                return self.names[file] + path[len(file) :]
        return path.removeprefix(f"{self.folder}/files/").removeprefix(f"{self.folder}/zips/")

    def as_said(self, words: str) -> str:
        """A sentence without the folder's own path."""
        return words.replace(f"{self.folder}/files/", "").replace(f"{self.folder}/zips/", "")


class Renamed:
    """Sources by the names that they came with; ``paths`` then leads back from a name to the path."""

    def __init__(self, sources: Sources, drop: Drop) -> None:
        self._sources, self._drop = sources, drop
        self.paths: dict[str, str] = {}
        self.notes = sources.notes

    def __len__(self) -> int:
        return len(self._sources)

    def __iter__(self) -> Iterator[Source]:
        for source in self._sources:
            name = self._drop.shown(source.name)
            self.paths[name] = source.name
            yield replace(source, name=name)


def lay_out(files: Sequence[tuple[Upload, Path]], folder: Path) -> Drop:
    """Link the files into ``folder``; the bytes are not copied. What lies there already is not touched.

    What devices and systems wrote into the folders of a drop is passed over, as it is in a folder on this machine. A
    file that came without a folder was chosen by itself.
    """
    files = [(upload, file) for upload, file in files if not _is_hidden(upload.name)]
    names: dict[str, str] = {}
    digests: dict[str, str] = {}
    zips: list[Path] = []
    tables: list[str] = []
    shown: set[str] = set()
    # JSON beside photos may be anything; where there are no photos it is meant as captions for those that are there.
    tabled = _WORDS if all(upload.name.lower().endswith(_WORDS) for upload, _ in files) else _TABLES
    for (upload, file), path in zip(files, _placed([upload.name for upload, _ in files], folder), strict=True):
        zipped = path.name.lower().endswith(".zip")
        path.parent.mkdir(parents=True, exist_ok=True)
        _link(file, path)
        name = _single(shown_name(upload.name), shown)
        names[printable(str(path))] = name
        digests[name] = upload.digest
        if zipped:
            zips.append(path)
        elif path.suffix.lower() in tabled and path.suffix.lower() not in (".txt", ".caption"):
            tables.append(str(path))
    paths = [str(folder / "files")] if len(zips) < len(files) else []
    shown_zips = tuple(printable(str(path)) for path in zips)
    return Drop(folder, (*paths, *map(str, zips)), shown_zips, tuple(tables), names, digests)


def _is_hidden(name: str) -> bool:
    parts = [part for part in re.split(r"[/\\]+", name) if part.strip(".")]
    return is_hidden(parts) if len(parts) > 1 else is_device_name(name)


def _placed(names: Sequence[str], folder: Path) -> list[Path]:
    """A path of its own for each file. A folder that is called as a file beside it is gets another name."""
    parts = [safe_path(name) for name in names]
    taken: set[str] = set()
    folders: dict[Path, Path] = {}

    def place_of(wanted: Path) -> Path:
        if wanted == folder:
            return folder
        if wanted not in folders:
            folders[wanted] = _free(place_of(wanted.parent), wanted.name, taken, keep=False)
        return folders[wanted]

    paths: dict[int, Path] = {}
    # Files first: what lies in a folder is placed when all that lies beside the folder is.
    for number in sorted(range(len(parts)), key=lambda number: len(parts[number])):
        *above, last = parts[number]
        root = "zips" if last.lower().endswith(".zip") else "files"
        paths[number] = _free(place_of(folder.joinpath(root, *above)), last, taken)
    return [paths[number] for number in range(len(parts))]


def _single(name: str, shown: set[str]) -> str:
    """The name, with a number if another file came with it too."""
    number, single = 1, name
    while single in shown:
        number += 1
        single = f"{name} ({number})"
    shown.add(single)
    return single


def _free(parent: Path, name: str, taken: set[str], *, keep: bool = True) -> Path:
    stem, dot, suffix = name.rpartition(".")
    number, path = 1, parent / name
    while str(path).casefold() in taken:
        number += 1
        # It sorts after the first one of that name.
        path = parent / (f"{stem}~{number}.{suffix}" if dot else f"{name}~{number}")
    if keep:
        taken.add(str(path).casefold())
    return path


def _link(file: Path, path: Path) -> None:
    try:
        os.link(file, path)
    except FileExistsError:
        return
    except OSError:
        # A disk without hard links: a link by name does as well, as the file stays until the intake has ended.
        path.symlink_to(file)
