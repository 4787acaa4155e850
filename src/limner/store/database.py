"""The database: engines with the right pragmas, short transactions, and locked migrations.

Writers begin with BEGIN IMMEDIATE, because a read transaction that turns into a writing one fails at once in WAL,
however long the busy timeout; readers use a plain BEGIN on an engine of their own.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from limner.errors import Conflict, StorageFailed

__all__ = ["SCHEMA_HEAD", "Database"]

SCHEMA_HEAD = "0009"
TABLE_PREFIX, VERSIONS = "limner_", "limner_schema"
BUSY_MILLISECONDS = 30_000
LOG_SECONDS = 2.0
"""How long emptying the log waits for those who read."""


def _engine(url: URL, begin: str, busy_milliseconds: int) -> Engine:
    engine = create_engine(url, connect_args={"timeout": busy_milliseconds / 1000})

    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in (
            "foreign_keys=ON",
            f"busy_timeout={busy_milliseconds}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=ON",  # what is erased is overwritten, not only forgotten
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


class Database:
    """One SQLite file, shared by our tables and the workflow engine's. ``url`` is how others open the same file."""

    def __init__(self, path: Path, *, busy_milliseconds: int = BUSY_MILLISECONDS) -> None:
        self.path = path
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(OSError):  # what is wrong with the place is said when it is used
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # SQLite would let others read it
        # Made of parts, because a ? in a folder's name would end the path of a URL.
        url = URL.create("sqlite", database=str(path))
        self.url = url.render_as_string()
        self._writer = _engine(url, "BEGIN IMMEDIATE", busy_milliseconds)
        self._reader = _engine(url, "BEGIN", busy_milliseconds)
        self._writing = sessionmaker(self._writer, expire_on_commit=False)
        self._reading = sessionmaker(self._reader, expire_on_commit=False)
        self._refuse_foreign()

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that may write: committed at the end, rolled back on any exception. Keep it short."""
        with _storage_errors(self), self._writing.begin() as session:
            yield session

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads."""
        with _storage_errors(self), self._reading() as session:
            yield session

    def version(self) -> str:
        """The schema revision found in the database, "" if there is none.

        StorageFailed: its table does not say which, so that nothing may be done to the rest.
        """
        with _storage_errors(self), self._reader.connect() as connection:
            tables = self._reader.dialect.get_table_names(connection)
            if not tables:
                return ""
            found = []
            if VERSIONS in tables:
                try:
                    found = list(connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalars())  # noqa: S608
                except OperationalError:  # another table of that name
                    found = []
            if len(found) == 1 and isinstance(found[0], str) and found[0]:
                return found[0]
        said = "several versions" if found else "no version"
        raise StorageFailed(
            f"The database {self.path} holds data of Limner, but its table {VERSIONS} names {said}.",
            remedy="Restore limner.db from a backup, or move it away; blobs are untouched.",
            thing=str(self.path),
        )

    def _refuse_foreign(self) -> None:
        """Look without writing, as opening it for our use would: StorageFailed if it is another program's."""
        try:
            with closing(sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
                tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        except sqlite3.Error:
            return  # what is wrong is said when it is used
        if tables and not any(name.startswith(TABLE_PREFIX) for name in tables):
            raise StorageFailed(
                f"The database {self.path} is another program's: nothing in it is Limner's.",
                remedy="Point LIMNER_HOME at another folder, or move that file away; it is left as it is.",
                thing=str(self.path),
            )

    def migrate(self) -> None:
        """Bring the schema to this release's; safe from many processes at once, a no-op when it is there already.

        Conflict: a newer Limner wrote the data. StorageFailed: the file is locked, full, damaged or no database.
        """
        found = self.version()
        if found == SCHEMA_HEAD:
            return
        from limner.store.migrations.upgrade import known_revisions, upgrade

        if found and found not in known_revisions():
            whose = (
                "a newer Limner" if found.isdecimal() and found > SCHEMA_HEAD else "another Limner, or a changed one"
            )
            raise Conflict(
                f"The data in {self.path} was written by {whose} (schema {found[:40]}, here {SCHEMA_HEAD}).",
                remedy="Upgrade Limner, or point LIMNER_HOME at another folder.",
                thing="database",
            )
        with _storage_errors(self):
            upgrade(self._writer)

    def empty_log(self) -> bool:
        """Bring all of the write-ahead log into the file and cut it, so that nothing erased is left in it.

        False: it is read or written just now, or the disk refuses; nothing is lost by that.
        """
        try:
            with closing(sqlite3.connect(self.path, timeout=LOG_SECONDS)) as connection:
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error:
            return False
        return not busy

    def dispose(self) -> None:
        """Close all connections."""
        self._writer.dispose()
        self._reader.dispose()


@contextmanager
def _storage_errors(database: Database) -> Iterator[None]:
    """Turn the driver's words for a locked, full or damaged database into ours."""
    place = str(database.path)
    try:
        yield
    except OperationalError as failure:
        words = str(failure.orig).lower()
        if "locked" in words or "busy" in words:
            raise StorageFailed(
                f"The database {place} is locked by another process.",
                remedy="Wait for it to finish, or stop it, then try again; nothing was changed.",
                thing=place,
            ) from failure
        if "full" in words or "disk i/o" in words:
            raise StorageFailed(
                f"The disk that holds {place} is full or failing.",
                remedy="Free some space, then try again; nothing was changed.",
                thing=place,
            ) from failure
        if "readonly" in words or "unable to open" in words:
            raise StorageFailed(
                f"The database {place} cannot be opened for writing.",
                remedy="Check the folder's owner and permissions, or set LIMNER_HOME.",
                thing=place,
            ) from failure
        if "no such table" in words or "no such column" in words:
            raise StorageFailed(
                f"The database {place} lacks a part ({words[:120]}).",
                remedy="Restore limner.db from a backup; blobs are untouched.",
                thing=place,
            ) from failure
        raise
    except DatabaseError as failure:
        if "not a database" in str(failure.orig) or "malformed" in str(failure.orig):
            raise StorageFailed(
                f"The file {place} is damaged or is not a Limner database.",
                remedy="Move it away or restore a copy; blobs are untouched.",
                thing=place,
            ) from failure
        raise
