"""A room's holding of a subject: its tables, what is counted of them, what lies on the disk, and how all of it goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select
from sqlalchemy.orm import Session

from limner.operations.home.blob_erasure import Kind
from limner.store.models import Row

__all__ = ["ErasureScope"]


@dataclass(frozen=True, slots=True)
class ErasureScope:
    """What one room keeps. Erasing a subject walks through the holdings of all rooms.

    A row goes with its subject by its foreign keys; what has none, or must not go whole, is ``forget``'s to see to.
    """

    rows: tuple[type[Row], ...]
    """The room's tables; each table is one room's."""
    counted: Mapping[str, Callable[[str], Select[Any]]] = field(default_factory=dict)
    """Of the subject with this slug, what is told by this name before and after."""
    on_disk: tuple[Kind, Callable[[str], Select[str]]] | None = None
    """The ids of the subject's things that have a working folder, or an upload's bytes."""
    forget: Callable[[Session, str, frozenset[str]], None] | None = None
    """Deletes or blanks rows that tell of the subject, or of one of these ids of all that is on the disk."""
