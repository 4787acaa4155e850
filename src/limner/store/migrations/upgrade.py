"""Runs Alembic under a lock, so that several processes starting at once migrate once."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, text

__all__ = ["upgrade"]

ADVISORY_LOCK = 0x11A4E8


def upgrade(engine: Engine) -> None:
    """Upgrade to the newest revision inside one transaction that holds the write lock from its first statement.

    On SQLite the engine's BEGIN IMMEDIATE is that lock; on PostgreSQL it is an advisory lock.
    """
    with engine.begin() as connection, as_file(files("limner.store.migrations")) as folder:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": ADVISORY_LOCK})
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
