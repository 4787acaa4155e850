"""Caption files: which ones lie beside the photos, and whose captions they hold."""

from __future__ import annotations

import glob
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath, PureWindowsPath

from limner.datasets.captions.encoding import decoded
from limner.datasets.captions.pairing import Caption, CaptionBook, Rank, path_parts, stem_of
from limner.datasets.captions.tables import read_csv, read_json, read_jsonl
from limner.datasets.captions.template import check_template, clean_caption
from limner.errors import CaptionRefused
from limner.ignored_files import is_hidden
from limner.types import Finding, Severity

__all__ = ["SIDECARS", "TABLES", "read_all", "read_captions"]

LARGEST_SIDECAR = 64 * 1024
LARGEST_TABLE = 64 * 1024 * 1024
MOST_MEMBERS = 100_000
SIDECARS = (".txt", ".caption")
"""What a caption beside its photo is called; if a photo has both, the first goes before the second."""
READERS = {".csv": read_csv, ".tsv": read_csv, ".jsonl": read_jsonl, ".json": read_json}
TABLES = tuple(READERS)


@dataclass(frozen=True, slots=True)
class _Folder:
    """The files of one folder, on disk or in a zip: ``name`` for messages, and how to read a file of it.

    ``inside`` is its path below what the user named, "" for that itself.
    """

    name: str
    files: Sequence[str]
    read: Callable[[str, int], bytes]
    inside: str = ""


class _Reading:
    """What has been read so far."""

    def __init__(self) -> None:
        self.captions: list[Caption] = []
        self.findings: list[Finding] = []
        self._read: set[str] = set()

    def find(self, code: str, message: str, remedy: str, severity: Severity = Severity.REFUSAL) -> None:
        self.findings.append(Finding(code, severity, message, remedy))

    def folder(self, folder: _Folder, only: str = "") -> None:
        """Read the caption files of a folder; with ``only``, the sidecars of that photo."""
        photos = {_fold(name) for name in folder.files if _suffix(name) not in (*SIDECARS, *TABLES)}
        stems = {stem_of(name) for name in photos}
        for name in folder.files:
            suffix = _suffix(name)
            if suffix in SIDECARS:
                wanted = _fold(name[: -len(suffix)])
                if only and wanted not in (_fold(only), stem_of(_fold(only))):
                    continue
                self.sidecar(folder, name, beside=wanted in photos or wanted in stems, stem=wanted not in photos)
            elif suffix in TABLES and not only:
                self.table(folder, name, named=False, photos=stems)

    def sidecar(self, folder: _Folder, name: str, *, beside: bool, stem: bool) -> None:
        """Read a caption by itself; one that no photo lies ``beside`` may be meant for one that is kept already."""
        where = f"{folder.name}/{name}"
        # Text that no photo lies beside may be notes of any kind.
        text = self._text(folder, name, LARGEST_SIDECAR, quiet=not beside)
        if text is None:
            return
        if not text.strip():
            self.find("caption-empty", f"{where} is empty.", "The template is used instead.", Severity.NOTE)
            return
        suffix = _suffix(name)
        stem_name = name[: -len(suffix)]
        rank = Rank.SIDECAR if not stem else Rank.TXT if suffix == SIDECARS[0] else Rank.CAPTION
        loose = path_parts(f"{folder.inside}/{stem_name}")
        target = path_parts(f"{folder.name}/{stem_name}")
        # ``a.jpg.txt`` names its photo whole, also where that lies elsewhere.
        stem = stem if beside else not _looks_like_photo(stem_name)
        self._keep(text, where, Caption("", "sidecar", "", target, stem, (), rank, loose), quiet=not beside)

    def table(self, folder: _Folder, name: str, *, named: bool, photos: set[str] | None = None) -> None:
        """Read a table; JSON that was found, not named, is one only if it captions some of the ``photos`` beside it."""
        where = f"{folder.name}/{name}"
        suffix = _suffix(name)
        text = self._text(folder, name, LARGEST_TABLE, quiet=suffix == ".json" and not named)
        if text is None:
            return
        rows = list(READERS[suffix](text))
        if suffix == ".json" and not named and not _captions_some(rows, photos or set()):
            return
        seen: set[tuple[str, ...]] = set()
        unit = "entry" if suffix == ".json" else "line"
        for line, row in rows:
            place = f"{where}, {unit} {line}" if line else where
            if isinstance(row, str):
                self.find("caption-row-unreadable", f"{place}: {row}", "Correct that line.")
                continue
            written = path_parts(row[0])
            if not written or not row[1].strip():
                self.find("caption-empty", f"{place} is empty.", "Complete it.", Severity.NOTE)
                continue
            if written in seen:
                self.find(
                    "caption-duplicate",
                    f"{place} captions '{row[0][:120]}' again; the first caption is kept.",
                    "Remove one of the two.",
                    Severity.WARNING,
                )
                continue
            seen.add(written)
            absolute = PurePath(row[0]).is_absolute() or PureWindowsPath(row[0]).is_absolute()
            target = written if absolute else (*path_parts(folder.name), *written)
            rank = Rank.NAMED if named else Rank.JSON if suffix == ".json" else Rank.TABLE
            loose = written[-1:] if absolute else written if named else (*path_parts(folder.inside), *written)
            stem = not _looks_like_photo(written[-1])
            kept = Caption("", "table", "", target, stem, written if named else (), rank, loose, where)
            self._keep(row[1], place, kept)

    def _text(self, folder: _Folder, name: str, largest: int, *, quiet: bool = False) -> str | None:
        """The text of a file that was not read yet; ``quiet``: it need not be a caption file."""
        where = f"{folder.name}/{name}"
        if where in self._read:
            return None
        self._read.add(where)
        try:
            data = folder.read(name, largest + 1)
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as failure:
            self.find("caption-file-unreadable", f"{where} cannot be read: {failure}.", "Save it anew.")
            return None
        try:
            if len(data) > largest:
                raise CaptionRefused(f"{where} is larger than {largest // 1024} KB.", remedy="Is it a caption file?")
            text, guessed = decoded(data, where)
        except CaptionRefused as refusal:
            if not quiet:
                code = "caption-file-large" if len(data) > largest else "caption-encoding"
                self.find(code, refusal.message, refusal.remedy)
            return None
        if guessed:
            self.find(
                "caption-encoding",
                f"{where} is not UTF-8 and was read as Windows-1252.",
                "If letters look wrong, save it as UTF-8.",
                Severity.WARNING,
            )
        return text

    def _keep(self, text: str, where: str, caption: Caption, *, quiet: bool = False) -> None:
        try:
            check_template(text)
            line = clean_caption(text)
        except CaptionRefused as refusal:
            if not quiet:
                self.find("caption-refused", f"{where}: {refusal.message}", refusal.remedy)
            return
        self.captions.append(replace(caption, text=line, source=where))


def read_all(paths: Sequence[Path]) -> tuple[list[Caption], list[Finding]]:
    """All captions beside or in what is named, and what was noticed. Never raises for what a file holds."""
    reading = _Reading()
    # What is named goes first: a table that also lies in a folder that is named is read as named.
    for path in sorted(_expanded(paths), key=lambda path: _suffix(path.name) not in TABLES):
        suffix = _suffix(path.name)
        if path.is_dir():
            for folder in _folders(path):
                reading.folder(folder)
        elif suffix in TABLES:
            if path.is_file():
                reading.table(_disk_folder(path.parent), path.name, named=True)
            else:
                reading.find("caption-file-missing", f"There is no file {path}.", "Correct the name.")
        elif suffix == ".zip" and path.is_file():
            for folder in _zip_folders(path):
                reading.folder(folder)
        elif suffix in SIDECARS and path.is_file():
            reading.folder(_disk_folder(path.parent), only=path.name[: -len(suffix)])
        elif path.exists():
            reading.folder(_disk_folder(path.parent), only=path.name)
    return reading.captions, reading.findings


def _captions_some(rows: Sequence[tuple[int, tuple[str, str] | str]], photos: set[str]) -> bool:
    return any(stem_of(_fold(path_parts(row[0])[-1])) in photos for _, row in rows if row[0] and path_parts(row[0]))


def _looks_like_photo(name: str) -> bool:
    """Whether a name has a file's extension: ``a.v2`` has none, ``a.jpg`` has."""
    suffix = _suffix(name)
    return 3 <= len(suffix) <= 5 and suffix[1:].isalpha()


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _expanded(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if glob.has_magic(str(path)) and not path.exists():
            found = glob.glob(str(path), recursive=True)  # noqa: PTH207, a pattern may be absolute
            yield from map(Path, sorted(found))
        else:
            yield path


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if not is_hidden([e.name]) and e.is_file(follow_symlinks=False))
    except OSError:
        return []


def _disk_folder(folder: Path, inside: str = "") -> _Folder:
    def read(name: str, most: int) -> bytes:
        with (folder / name).open("rb") as stream:
            return stream.read(most)

    return _Folder(str(folder), _names(folder), read, inside)


def _folders(root: Path) -> Iterator[_Folder]:
    for place, folders, _ in os.walk(root):
        folders[:] = sorted(name for name in folders if not is_hidden([name]))
        inside = PurePath(place).relative_to(root).as_posix()
        yield _disk_folder(Path(place), "" if inside == "." else inside)


def _zip_folders(path: Path) -> Iterator[_Folder]:
    # A zip that cannot be opened is refused by the intake, with its reason.
    try:
        archive = zipfile.ZipFile(path)
        members = archive.infolist()[:MOST_MEMBERS]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return
    with archive:
        inside: dict[str, dict[str, zipfile.ZipInfo]] = {}
        for member in members:
            folder, _, name = member.filename.rpartition("/")
            if name and not is_hidden(member.filename.split("/")):
                inside.setdefault(folder, {})[name] = member
        for folder, files in sorted(inside.items()):

            def read(name: str, most: int, files: dict[str, zipfile.ZipInfo] = files) -> bytes:
                with archive.open(files[name]) as stream:
                    return stream.read(most)

            yield _Folder(f"{path}/{folder}".rstrip("/"), sorted(files), read, folder)


def read_captions(paths: Sequence[Path]) -> CaptionBook:
    """Read the captions that lie beside or in what is named: photos, folders, zips, globs, and caption files.

    Sidecars are ``IMG.txt``, ``IMG.caption`` or ``IMG.jpg.txt``; tables are CSV (also with semicolons or tabs), JSONL
    and JSON with a file name and a text a row, Kohya's metadata among them. What cannot be read becomes a finding that
    names the file and the place; the rest is kept.
    """
    captions, findings = read_all(paths)
    return CaptionBook(tuple(sorted(captions, key=lambda caption: caption.rank)), tuple(findings))
