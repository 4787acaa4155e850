"""Where photos come from: files, folders, zips and globs, listed in an order that is always the same."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath

from limner.photos import archives
from limner.photos.limits import IntakeLimits
from limner.photos.refusals import Refusal, refusal
from limner.plain_text import invisible_replaced
from limner.types import Finding

__all__ = ["Source", "Sources", "find_sources", "printable"]

_CAPTIONS = (".txt", ".caption", ".csv", ".tsv", ".jsonl", ".json")
_BESIDE = (*_CAPTIONS, ".md", ".toml", ".yaml", ".yml", ".xml", ".xmp", ".aae", ".html", ".htm", ".log")
_SYSTEM = ("__macosx", "thumbs.db", "desktop.ini")

_Walked = tuple[Path, os.stat_result | Refusal]


@dataclass(frozen=True, slots=True)
class Source:
    """One file to take in: its name for people, and where it lies. ``refusal`` says why it cannot be tried at all.

    ``temporary`` files were unpacked for the intake, which deletes them.
    """

    name: str
    path: Path
    refusal: Finding | None = None
    temporary: bool = False


class Sources:
    """What was found: its length is known at once, zips are unpacked entry by entry while it is gone through."""

    def __init__(self, found: Sequence[Source | archives.Member], workdir: Path, limits: IntakeLimits) -> None:
        self._found = found
        self._workdir = workdir
        self._limits = limits

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Source]:
        """The sources in order. StorageFailed: the disk had no room to unpack one."""
        with ExitStack() as opened:
            archive: archives.Unpacking | None = None
            for number, entry in enumerate(self._found):
                if isinstance(entry, Source):
                    yield entry
                    continue
                target = self._workdir / f"unpacked-{number:06}"
                try:
                    if archive is None or archive.path != entry.archive:
                        opened.close()
                        archive = opened.enter_context(archives.Unpacking(entry.archive, self._limits))
                    archive.unpack(entry, target)
                except Refusal as refused:
                    yield Source(entry.name, entry.archive, refused.finding)
                else:
                    yield Source(entry.name, target, temporary=True)


def find_sources(paths: Sequence[str | Path], workdir: Path, limits: IntakeLimits) -> Sources:
    """List the photos in files, folders, zips and globs; entries of zips are unpacked into ``workdir`` one by one.

    Folders are gone through with all below them, sorted by name, links followed once. Hidden files, captions and
    notes are passed over. What is named and is not there, or holds no photo, is a source with a refusal.
    """
    found: list[Source | archives.Member] = []
    taken: set[str] = set()
    for given in paths:
        for path in _matches(Path(given).expanduser()):
            found.extend(entry for entry in _entries(path, limits) if _is_new(entry, taken))
    return Sources(found, workdir, limits)


def printable(name: str) -> str:
    """A file name as text that can be stored and shown: what is no character, or no visible one, is replaced."""
    return invisible_replaced(name)


def _is_new(entry: Source | archives.Member, taken: set[str]) -> bool:
    """Whether a file is listed for the first time: it may be named itself and lie in a folder that is named too."""
    if isinstance(entry, archives.Member):
        key = f"{entry.archive.absolute()}\0{entry.info.header_offset}"
    else:
        key = f"{os.path.normpath(entry.path.absolute())}\0{entry.name if entry.refusal else ''}"
    if key in taken:
        return False
    taken.add(key)
    return True


def _matches(path: Path) -> Iterator[Path | Source]:
    try:
        magic = glob.has_magic(str(path)) and not os.path.lexists(path)
        matches = sorted(glob.glob(str(path), recursive=True)) if magic else []  # noqa: PTH207, it may be absolute
    except (OSError, ValueError) as failure:
        yield _refused(path, "not-there", f"It cannot be looked up: {failure}.", "Correct the name.")
        return
    if not magic:
        yield path
    elif not matches:
        yield _refused(path, "not-there", "No file fits this pattern.", "Correct the pattern.")
    yield from map(Path, matches)


def _entries(path: Path | Source, limits: IntakeLimits) -> Iterator[Source | archives.Member]:
    if isinstance(path, Source):
        yield path
        return
    if path.suffix.lower() in _CAPTIONS:
        return
    facts = _look(path)
    if isinstance(facts, Refusal):
        yield Source(printable(str(path)), path, facts.finding)
    elif stat.S_ISDIR(facts.st_mode):
        inside = [_file(below, about, in_folder=True) for below, about in _below(path, facts)]
        yield from inside or [
            _refused(path, "no-photos", "The folder holds no photo.", "Name a folder that holds some.")
        ]
    elif stat.S_ISREG(facts.st_mode) and archives.looks_like_zip(path):
        yield from _zip_entries(path, limits)
    else:
        yield _file(path, facts, in_folder=False)


def _file(path: Path, facts: os.stat_result | Refusal, *, in_folder: bool) -> Source:
    if isinstance(facts, Refusal):
        return Source(printable(str(path)), path, facts.finding)
    if not stat.S_ISREG(facts.st_mode):
        return _refused(path, "not-a-file", "It is a device, pipe or socket and no file.", "Name a file.")
    if in_folder and path.suffix.lower() == ".zip":
        return _refused(path, "zip-in-folder", "A zip inside a folder is not opened.", "Name the zip itself.")
    return Source(printable(str(path)), path)


def _below(root: Path, facts: os.stat_result) -> Iterator[_Walked]:
    """All files below a folder, sorted by name; each folder once, so that links in a circle come to an end."""
    visited: set[tuple[int, int]] = set()
    stack: list[_Walked] = [(root, facts)]
    while stack:
        path, about = stack.pop()
        if isinstance(about, Refusal) or not stat.S_ISDIR(about.st_mode):
            yield path, about
            continue
        if (about.st_dev, about.st_ino) in visited:
            continue
        visited.add((about.st_dev, about.st_ino))
        try:
            names = sorted(file.name for file in path.iterdir() if not _passed_over(file.name))
        except OSError as failure:
            yield path, refusal("unreadable", f"The folder cannot be read: {failure.strerror}.", "See who may read it.")
            continue
        stack.extend((path / name, _look(path / name)) for name in reversed(names))


def _look(path: Path) -> os.stat_result | Refusal:
    try:
        return path.stat()
    except FileNotFoundError:
        if path.is_symlink():
            return refusal("not-there", "It is a link to a file that is not there.", "Mend the link, or remove it.")
        return refusal("not-there", "There is no such file or folder.", "Correct the name.")
    except (OSError, ValueError) as failure:
        why = getattr(failure, "strerror", None) or failure
        return refusal("unreadable", f"It cannot be looked at: {why}.", "Correct the name, or see who may read it.")


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM or PurePath(name).suffix.lower() in _BESIDE


def _zip_entries(path: Path, limits: IntakeLimits) -> Iterator[Source | archives.Member]:
    name = printable(str(path))
    empty = True
    try:
        for info, refused in archives.members(path, limits):
            parts = re.split(r"[\\/]", info.filename)
            if any(_passed_over(part) for part in parts[-1:]) or any(part.lower() in _SYSTEM for part in parts):
                continue
            empty = False
            entry = f"{name}/{printable(info.filename)}"
            yield Source(entry, path, refused.finding) if refused else archives.Member(entry, path, info)
    except Refusal as whole:
        yield Source(name, path, whole.finding)
        return
    if empty:
        yield _refused(path, "no-photos", "The zip holds no photo.", "Name a zip that holds some.")


def _refused(path: Path, code: str, message: str, remedy: str) -> Source:
    return Source(printable(str(path)), path, refusal(code, message, remedy).finding)
