"""Runs Alembic under a lock, so that several processes starting at once migrate once."""

from __future__ import annotations

from importlib.resources import as_file, files

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

__all__ = ["known_revisions", "upgrade"]


def known_revisions() -> frozenset[str]:
    """The revisions that this release can upgrade from, its own included."""
    with as_file(files("limner.store.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        return frozenset(script.revision for script in ScriptDirectory.from_config(config).walk_revisions())


def upgrade(engine: Engine) -> None:
    """Upgrade to the newest revision inside one transaction that holds the write lock from its first statement.

    The engine's BEGIN IMMEDIATE is that lock; whoever waited for it finds the new schema and does nothing.
    """
    with engine.begin() as connection, as_file(files("limner.store.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
