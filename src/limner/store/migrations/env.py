"""Alembic's entry: uses the connection that ``upgrade`` hands over, and sees only our own tables."""

from __future__ import annotations

from typing import Any

from alembic import context

from limner.store import web_models  # noqa: F401  (its tables are part of the metadata)
from limner.store.models import TABLE_PREFIX, Row


def ours(_object: Any, name: str | None, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    """Whether Alembic is to look at a thing: the workflow engine's tables are none of its business."""
    return kind != "table" or (name or "").startswith(TABLE_PREFIX)


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Row.metadata,
    include_object=ours,
    render_as_batch=True,
    version_table="limner_schema",
    transactional_ddl=False,
)
context.run_migrations()
