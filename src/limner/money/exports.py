"""The ledger as a file for others to read: CSV for spreadsheets, JSON for programs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from limner.errors import InputRefused

if TYPE_CHECKING:
    from limner.records import Cost, CostSummary

__all__ = ["as_csv", "as_json", "export_text"]

FORMULAS = ("=", "+", "-", "@", "\t", "\r")


def export_text(found: CostSummary, suffix: str) -> str:
    """The text of a file that ends in ``suffix``: ``.csv`` or ``.json``. InputRefused for any other."""
    kinds = {".csv": lambda: as_csv(found.entries), ".json": lambda: as_json(found)}
    if suffix.lower() not in kinds:
        raise InputRefused(
            f"Costs are not written as '{suffix or 'a file without an ending'}'.",
            remedy="Name a file that ends in .csv or .json.",
            thing=suffix,
        )
    return kinds[suffix.lower()]()


def as_csv(entries: Iterable[Cost]) -> str:
    """One line a cost under a line of names; amounts in US dollars, times in UTC (ISO 8601)."""
    from limner.records import Cost

    names = [field.name for field in fields(Cost)]
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\r\n")
    writer.writerow(names)
    for cost in entries:
        writer.writerow([_cell(getattr(cost, name)) for name in names])
    return sink.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Decimal):
        return f"{value:f}"
    # A spreadsheet would run a vendor's or a user's words that begin like a formula.
    return f"'{value}" if str(value).startswith(FORMULAS) else str(value)


def as_json(found: CostSummary) -> str:
    """Everything of the summary; amounts as text, so that no digit is lost."""
    return json.dumps(_plain(found), ensure_ascii=False, indent=2) + "\n"


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return f"{value:f}" if isinstance(value, Decimal) else value
