"""Where photos come from: files, folders, zips and globs, listed in an order that is always the same."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePath

from limner.ignored_files import CAPTIONS, is_cache, is_device_name, is_hidden, is_placeholder, lies_beside
from limner.photos.reading import archives
from limner.photos.reading.limits import IntakeLimits
from limner.photos.reading.not_photos import in_icloud
from limner.photos.reading.refusals import Refusal, refusal
from limner.plain_text import invisible_replaced
from limner.types import Finding, Severity

__all__ = ["Source", "Sources", "find_sources", "printable"]

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
    """What was found: its length is known at once, zips are unpacked entry by entry while it is gone through.

    ``notes`` says what was passed over that the user may wonder about.
    """

    def __init__(
        self,
        found: Sequence[Source | archives.Member],
        workdir: Path,
        limits: IntakeLimits,
        notes: tuple[Finding, ...] = (),
    ) -> None:
        self._found = found
        self._workdir = workdir
        self._limits = limits
        self.notes = notes

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

    Folders are gone through with all below them, sorted by name, links followed once. What ``passed_over`` knows by
    its name is left out, but for what is named itself. What is named and is not there, or holds no photo, is a source
    with a refusal.
    """
    found: list[Source | archives.Member] = []
    taken: set[str] = set()
    sieve = _Sieve()
    for given in paths:
        for path in _matches(Path(given).expanduser(), sieve):
            found.extend(entry for entry in _entries(path, limits, sieve) if _is_new(entry, taken))
    return Sources(found, workdir, limits, sieve.notes())


class _Sieve:
    """What is passed over, counted where it deserves a word."""

    def __init__(self) -> None:
        self._caches: Counter[str] = Counter()
        self._devices: set[str] = set()

    def shows(self, parts: Sequence[str]) -> bool:
        """Whether a path below what was named is one of the user's."""
        if not is_hidden(parts):
            return True
        # Of what they write, only a folder may hold what somebody looks for.
        self._devices.update(
            part for part in parts if is_device_name(part) and part[0] != "." and not lies_beside(part)
        )
        return False

    def keeps(self, name: str) -> bool:
        """Whether a file of the user's may be a photo by its name."""
        if is_cache(name):
            self._caches[PurePath(name).suffix.lower()] += 1
        return not lies_beside(name)

    def notes(self) -> tuple[Finding, ...]:
        notes = []
        if self._caches:
            count = self._caches.total()
            kinds = ", ".join(sorted(self._caches))
            said = f"Caches and weights hold no picture and were passed over: {count} ({kinds})."
            notes.append(Finding("caches-passed-over", Severity.NOTE, said, "Nothing is to be done."))
        if self._devices:
            names = ", ".join(printable(name) for name in sorted(self._devices))
            notes.append(
                Finding(
                    "device-folders-passed-over",
                    Severity.NOTE,
                    f"What devices and systems write beside photos was passed over: {names}.",
                    "Name such a folder itself if you want what is in it.",
                )
            )
        return tuple(notes)


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


def _matches(path: Path, sieve: _Sieve) -> Iterator[Path | Source]:
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
    # What the pattern spells out is named; what its stars stand for is judged as what lies in a folder.
    spelt = {part for part in path.parts if not glob.has_magic(part)}
    for match in map(Path, matches):
        parts = [part for part in match.parts if part not in spelt]
        if sieve.shows(parts) and (not parts or match.is_dir() or sieve.keeps(match.name)):
            yield match


def _entries(path: Path | Source, limits: IntakeLimits, sieve: _Sieve) -> Iterator[Source | archives.Member]:
    if isinstance(path, Source):
        yield path
        return
    if path.suffix.lower() in CAPTIONS:
        return
    facts = _look(path)
    if isinstance(facts, Refusal):
        yield Source(printable(str(path)), path, facts.finding)
    elif stat.S_ISDIR(facts.st_mode):
        inside = [_file(below, about, in_folder=True) for below, about in _below(path, facts, sieve)]
        yield from inside or [
            _refused(path, "no-photos", "The folder holds no photo.", "Name a folder that holds some.")
        ]
    elif stat.S_ISREG(facts.st_mode) and archives.looks_like_zip(path) and not is_cache(path.name):
        yield from _zip_entries(path, limits, sieve)
    else:
        yield _file(path, facts, in_folder=False)


def _file(path: Path, facts: os.stat_result | Refusal, *, in_folder: bool) -> Source:
    if isinstance(facts, Refusal):
        return Source(printable(str(path)), path, facts.finding)
    if is_placeholder(path.name):
        return Source(printable(str(path)), path, in_icloud().finding)
    if not stat.S_ISREG(facts.st_mode):
        return _refused(path, "not-a-file", "It is a device, pipe or socket and no file.", "Name a file.")
    if in_folder and path.suffix.lower() == ".zip":
        return _refused(path, "zip-in-folder", "A zip inside a folder is not opened.", "Name the zip itself.")
    return Source(printable(str(path)), path)


def _below(root: Path, facts: os.stat_result, sieve: _Sieve) -> Iterator[_Walked]:
    """All files below a folder, sorted by name; each folder once, so that links in a circle come to an end."""
    visited: set[tuple[int, int]] = set()
    stack: list[_Walked] = [(root, facts)]
    while stack:
        path, about = stack.pop()
        if isinstance(about, Refusal) or not stat.S_ISDIR(about.st_mode):
            if sieve.keeps(path.name):
                yield path, about
            continue
        if (about.st_dev, about.st_ino) in visited:
            continue
        visited.add((about.st_dev, about.st_ino))
        try:
            names = sorted(file.name for file in path.iterdir() if sieve.shows([file.name]))
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


def _zip_entries(path: Path, limits: IntakeLimits, sieve: _Sieve) -> Iterator[Source | archives.Member]:
    name = printable(str(path))
    empty = True
    try:
        for info, refused in archives.members(path, limits):
            parts = re.split(r"[\\/]", info.filename)
            # A path that leads out of the zip is refused for that, not passed over.
            if not (sieve.shows([part for part in parts if part.strip(".")]) and sieve.keeps(parts[-1])):
                continue
            empty = False
            entry = f"{name}/{printable(info.filename)}"
            if is_placeholder(parts[-1]):
                refused = in_icloud()
            yield Source(entry, path, refused.finding) if refused else archives.Member(entry, path, info)
    except Refusal as whole:
        yield Source(name, path, whole.finding)
        return
    if empty:
        yield _refused(path, "no-photos", "The zip holds no photo.", "Name a zip that holds some.")


def _refused(path: Path, code: str, message: str, remedy: str) -> Source:
    return Source(printable(str(path)), path, refusal(code, message, remedy).finding)
