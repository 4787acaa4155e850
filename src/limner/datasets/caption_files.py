"""Caption files: which ones lie beside the photos, and how sidecars, CSV and JSONL are read."""

from __future__ import annotations

import codecs
import csv
import glob
import io
import json
import os
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from limner.datasets.captions import Caption, check_template, clean_caption, path_parts, stem_of, without_photo
from limner.errors import CaptionRefused
from limner.types import Finding, Severity

__all__ = ["decode", "read_all", "read_csv", "read_jsonl"]

LARGEST_SIDECAR = 64 * 1024
LARGEST_TABLE = 64 * 1024 * 1024
MOST_MEMBERS = 100_000
TABLES = (".csv", ".tsv", ".jsonl")
FILE_COLUMNS = ("file_name", "file", "filename", "image", "photo", "path", "name")
TEXT_COLUMNS = ("text", "caption", "prompt", "description")
_NAMED_TABLE, _SIDECAR, _SIDECAR_STEM, _FOUND_TABLE = range(4)

Row = tuple[str, str]


@dataclass(frozen=True, slots=True)
class _Folder:
    """The files of one folder, on disk or in a zip: ``name`` for messages, and how to read a file of it."""

    name: str
    files: Sequence[str]
    read: Callable[[str, int], bytes]


class _Reading:
    """What has been read so far."""

    def __init__(self) -> None:
        self.captions: list[Caption] = []
        self.findings: list[Finding] = []
        self._read: set[str] = set()
        self._given: dict[tuple[str, ...], list[Caption]] = {}

    def find(self, code: str, message: str, remedy: str, severity: Severity = Severity.REFUSAL) -> None:
        self.findings.append(Finding(code, severity, message, remedy))

    def folder(self, folder: _Folder, only: str = "") -> None:
        """Read the caption files of a folder; with ``only``, the sidecars of that photo."""
        photos = {_fold(name) for name in folder.files if _suffix(name) not in (".txt", *TABLES)}
        stems = {stem_of(name) for name in photos}
        for name in folder.files:
            suffix = _suffix(name)
            if suffix == ".txt":
                wanted = _fold(name[:-4])
                if only and wanted not in (_fold(only), stem_of(_fold(only))):
                    continue
                if wanted in photos or wanted in stems:
                    self.sidecar(folder, name, stem=wanted not in photos)
                else:
                    self.findings.append(without_photo(f"{folder.name}/{name}", name[:-4]))
            elif suffix in TABLES and not only:
                self.table(folder, name, named=False)

    def sidecar(self, folder: _Folder, name: str, *, stem: bool) -> None:
        where = f"{folder.name}/{name}"
        text = self._text(folder, name, LARGEST_SIDECAR)
        if text is None:
            return
        if not text.strip():
            self.find("caption-empty", f"{where} is empty.", "The template is used instead.", Severity.NOTE)
            return
        rank = _SIDECAR_STEM if stem else _SIDECAR
        self._keep(text, where, Caption("", "sidecar", name, path_parts(f"{folder.name}/{name[:-4]}"), stem, (), rank))

    def table(self, folder: _Folder, name: str, *, named: bool) -> None:
        where = f"{folder.name}/{name}"
        text = self._text(folder, name, LARGEST_TABLE)
        if text is None:
            return
        reader = read_jsonl if _suffix(name) == ".jsonl" else read_csv
        seen: set[tuple[str, ...]] = set()
        for line, row in reader(text):
            if isinstance(row, str):
                self.find("caption-row-unreadable", f"{where}, line {line}: {row}", "Correct that line.")
                continue
            written = path_parts(row[0])
            if not written or not row[1].strip():
                self.find("caption-empty", f"{where}, line {line} is empty.", "Complete it.", Severity.NOTE)
                continue
            if written in seen:
                self.find(
                    "caption-duplicate",
                    f"{where}, line {line} captions '{row[0][:120]}' again; the first caption is kept.",
                    "Remove one of the two.",
                    Severity.WARNING,
                )
                continue
            seen.add(written)
            target = written if PurePath(row[0]).is_absolute() else (*path_parts(folder.name), *written)
            stem = "." not in written[-1]
            rank = _NAMED_TABLE if named else _FOUND_TABLE
            kept = Caption("", "table", name, target, stem, written if named else (), rank)
            self._keep(row[1], f"{where}, line {line}", kept)

    def _text(self, folder: _Folder, name: str, largest: int) -> str | None:
        where = f"{folder.name}/{name}"
        if where in self._read:
            return None
        self._read.add(where)
        try:
            data = folder.read(name, largest + 1)
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as failure:
            self.find("caption-file-unreadable", f"{where} cannot be read: {failure}.", "Save it anew.")
            return None
        if len(data) > largest:
            self.find("caption-file-large", f"{where} is larger than {largest // 1024} KB.", "Is it a caption file?")
            return None
        try:
            return decode(data, where)
        except CaptionRefused as refusal:
            self.find("caption-encoding", refusal.message, refusal.remedy)
            return None

    def _keep(self, text: str, where: str, caption: Caption) -> None:
        try:
            check_template(text)
            line = clean_caption(text)
        except CaptionRefused as refusal:
            self.find("caption-refused", f"{where}: {refusal.message}", refusal.remedy)
            return
        caption = replace(caption, text=line, source=where)
        place = (*caption.target[:-1], stem_of(caption.target[-1]) if not caption.stem else caption.target[-1])
        given = self._given.setdefault(place, [])
        if any(
            other.text != line and (other.stem or caption.stem or other.target == caption.target) for other in given
        ):
            self.find(
                "caption-duplicate",
                f"{where} captions '{caption.target[-1]}', which has another caption already.",
                "Keep one; a table that you name goes before a sidecar, and that before other tables.",
                Severity.WARNING,
            )
        given.append(caption)
        self.captions.append(caption)


def read_all(paths: Sequence[Path]) -> tuple[list[Caption], list[Finding]]:
    """All captions beside or in what is named, and what was noticed. Never raises for what a file holds."""
    reading = _Reading()
    for path in _expanded(paths):
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
        elif suffix == ".txt" and path.is_file():
            reading.folder(_disk_folder(path.parent), only=path.name[:-4])
        elif path.exists():
            reading.folder(_disk_folder(path.parent), only=path.name)
    return reading.captions, reading.findings


def decode(data: bytes, where: str) -> str:
    """The text of a caption file in UTF-8, with or without a mark, or UTF-16 with one.

    CaptionRefused names the file and the byte where it stops being so.
    """
    encoding = "utf-8-sig"
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not data.startswith(codecs.BOM_UTF32_LE):
        encoding = "utf-16"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as failure:
        # The decoder counts from behind the mark.
        place = failure.start + (3 if encoding == "utf-8-sig" and data.startswith(codecs.BOM_UTF8) else 0)
        raise CaptionRefused(
            f"{where} is not {'UTF-16' if encoding == 'utf-16' else 'UTF-8'}: it breaks at byte {place}.",
            remedy="Save it as UTF-8; text editors call this the encoding.",
            thing=where,
        ) from None


def read_csv(text: str) -> Iterator[tuple[int, Row | str]]:
    """Read (line, (file, caption)) from CSV with commas, semicolons or tabs; (line, problem) for a bad row.

    The first row names the columns; two columns whose first row is a file name need no such row.
    """
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns: tuple[int, int] | None = None
    try:
        for cells in rows:
            if not any(cell.strip() for cell in cells):
                continue
            if columns is None:
                columns = _columns(cells)
                if columns is None and not _is_row(cells):
                    known = f"{', '.join(FILE_COLUMNS)} and {', '.join(TEXT_COLUMNS)}"
                    yield rows.line_num, f"its first row must name a file and a caption column (known: {known})."
                    return
                if columns:
                    continue
                columns = (0, 1)
            if len(cells) <= max(columns):
                yield rows.line_num, f"it has {len(cells)} cells, too few."
                continue
            yield rows.line_num, (cells[columns[0]].strip(), cells[columns[1]])
    except csv.Error as failure:
        yield rows.line_num, f"it is not CSV: {failure}."


def read_jsonl(text: str) -> Iterator[tuple[int, Row | str]]:
    """Read (line, (file, caption)) from one JSON object a line; (line, problem) for a bad one."""
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as failure:
            yield number, f"it is not JSON: {str(failure)[:100]}."
            continue
        keys = {key.lower(): value for key, value in row.items()} if isinstance(row, dict) else {}
        file = next((keys[name] for name in FILE_COLUMNS if name in keys), None)
        caption = next((keys[name] for name in TEXT_COLUMNS if name in keys), None)
        if isinstance(file, str) and isinstance(caption, str):
            yield number, (file, caption)
        else:
            yield number, "it must be an object with the texts file_name and text."


def _columns(cells: Sequence[str]) -> tuple[int, int] | None:
    names = [cell.strip().lower() for cell in cells]
    file = next((names.index(name) for name in FILE_COLUMNS if name in names), None)
    text = next((names.index(name) for name in TEXT_COLUMNS if name in names), None)
    return None if file is None or text is None else (file, text)


def _is_row(cells: Sequence[str]) -> bool:
    return len(cells) == 2 and 2 <= len(_suffix(cells[0].strip())) <= 6


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


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
            return sorted(e.name for e in entries if not _hidden(e.name) and e.is_file(follow_symlinks=False))
    except OSError:
        return []


def _disk_folder(folder: Path) -> _Folder:
    def read(name: str, most: int) -> bytes:
        with (folder / name).open("rb") as stream:
            return stream.read(most)

    return _Folder(str(folder), _names(folder), read)


def _folders(root: Path) -> Iterator[_Folder]:
    for place, folders, _ in os.walk(root):
        folders[:] = sorted(name for name in folders if not _hidden(name))
        yield _disk_folder(Path(place))


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
            if name and not any(map(_hidden, member.filename.split("/"))):
                inside.setdefault(folder, {})[name] = member
        for folder, files in sorted(inside.items()):

            def read(name: str, most: int, files: dict[str, zipfile.ZipInfo] = files) -> bytes:
                with archive.open(files[name]) as stream:
                    return stream.read(most)

            yield _Folder(f"{path}/{folder}".rstrip("/"), sorted(files), read)
