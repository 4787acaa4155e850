"""Tables of captions: CSV, JSONL and JSON as text, each row a file and its caption, or what is wrong with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

__all__ = ["KOHYA_FIELDS", "read_csv", "read_json", "read_jsonl"]

FILE_COLUMNS = (
    "file_name", "file", "filename", "image", "photo", "path", "name", "image_path", "file_path", "filepath", "img",
    "image_file", "image_name",
)  # fmt: skip
TEXT_COLUMNS = ("text", "caption", "prompt", "description", "captions", "tags")
KOHYA_FIELDS = ("caption", "tags")
"""Of an entry of Kohya's metadata; its trainer joins them with a comma, in this order."""

Row = tuple[str, str]


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
        row = _parsed(line)
        yield number, row if isinstance(row, str) else _of_object(row[0])


def read_json(text: str) -> Iterator[tuple[int, Row | str]]:
    """Read (number, (file, caption)) from one JSON document; (number, problem) for a bad entry, 0 for the whole.

    A list of objects as in JSONL, an object of captions by file, or Kohya's metadata: an object by file of objects
    with ``caption``, ``tags`` or both, whose ``train_resolution`` and other fields are passed over.
    """
    whole = _parsed(text)
    if isinstance(whole, str):
        yield 0, whole
        return
    if isinstance(whole[0], list):
        for number, row in enumerate(whole[0], start=1):
            yield number, _of_object(row)
    elif isinstance(whole[0], dict):
        for number, (file, value) in enumerate(whole[0].items(), start=1):
            yield number, _of_entry(file, value)
    else:
        yield 0, "it must be a list of objects, or an object with an entry a file."


def _parsed(text: str) -> tuple[Any] | str:
    """What the text holds, in a tuple; in words what is wrong with it."""
    try:
        return (json.loads(text),)
    except (ValueError, RecursionError) as failure:
        return f"it is not JSON: {str(failure)[:100]}."


def _of_object(row: Any) -> Row | str:
    keys: Mapping[str, Any] = {key.lower(): value for key, value in row.items()} if isinstance(row, dict) else {}
    file = next((keys[name] for name in FILE_COLUMNS if name in keys), None)
    caption = next((keys[name] for name in TEXT_COLUMNS if name in keys), None)
    if isinstance(file, str) and isinstance(caption, str):
        return file, caption
    return "it must be an object with the texts file_name and text."


def _of_entry(file: str, value: Any) -> Row | str:
    if isinstance(value, str):
        return file, value
    if isinstance(value, dict) and any(isinstance(value.get(field), str) for field in KOHYA_FIELDS):
        parts = [value[field].strip(" ,") for field in KOHYA_FIELDS if isinstance(value.get(field), str)]
        return file, ", ".join(filter(None, parts))
    return f"'{file[:80]}' has neither a caption nor tags."


def _columns(cells: Sequence[str]) -> tuple[int, int] | None:
    names = [cell.strip().lower() for cell in cells]
    file = next((names.index(name) for name in FILE_COLUMNS if name in names), None)
    text = next((names.index(name) for name in TEXT_COLUMNS if name in names), None)
    return None if file is None or text is None else (file, text)


def _is_row(cells: Sequence[str]) -> bool:
    return len(cells) == 2 and 2 <= len(_suffix(cells[0].strip())) <= 6


def _suffix(name: str) -> str:
    return PurePath(name).suffix.lower()
