"""A database of an earlier release is brought to this one with all that is in it."""

from __future__ import annotations

from decimal import Decimal
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from alembic import command, op
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError

from limner.store import Database
from limner.store.database import SCHEMA_HEAD
from limner.store.models import ImageRow, IntentRow, LedgerRow, LoraRow, Row

OLD_ROWS = (
    "INSERT INTO limner_subjects VALUES ('rex', 'Rex', 'pet', 'dog', 'rex_dog', '2026-01-01 00:00:00')",
    "INSERT INTO limner_blobs VALUES ('d1', 'image/png', 10, '2026-01-01 00:00:00')",
    "INSERT INTO limner_loras (id, subject, version, digest, tensor_digest, base, naming, rank, alpha, modules, "
    "byte_size, trigger, header, created_at) VALUES (1, 'rex', 1, 'd1', 't1', 'limner-tiny', 'diffusers', 2, 2.0, 4, "
    "10, 'rex_dog', '{}', '2026-01-01 00:00:00')",
    "INSERT INTO limner_generations (id, prompt, base, generator, loras, width, height, steps, guidance, seed, count, "
    "state, created_at) VALUES ('g1', 'rex', 'limner-tiny', 'local', '[]', 64, 64, 1, 2.0, 7, 1, 'done', "
    "'2026-01-01 00:00:00')",
    "INSERT INTO limner_images VALUES (1, 'g1', 0, 'd1', 'image/png', 64, 64, 7, 0.5, '2026-01-01 00:00:00')",
    "INSERT INTO limner_intents VALUES ('t', 'j', 'fal', 'training', '{}', 'open', '', '2026-01-01 00:00:00', NULL)",
    "INSERT INTO limner_ledger (job, vendor, what, estimated, currency, note, created_at) VALUES ('j', 'fal', "
    "'training', 2.5, 'USD', '', '2026-01-01 00:00:00')",
)


def make_old(path: Path, revision: str) -> Database:
    """A database of an earlier release, with a row of each kind that has changed since."""
    database = Database(path)
    with database._writer.begin() as connection, as_file(files("limner.store.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for row in OLD_ROWS:
            connection.execute(text(row))
    return database


def test_the_first_release_is_upgraded_and_keeps_its_rows(tmp_path: Path) -> None:
    database = make_old(tmp_path / "limner.db", "0001")
    assert database.version() == "0001"
    database.migrate()
    assert database.version() == SCHEMA_HEAD
    with database.read() as session:
        assert session.get_one(ImageRow, 1).generator == "local"
        assert session.get_one(LoraRow, 1).hosted == {}
        intent = session.get_one(IntentRow, "t")
        assert (intent.subject, intent.model, intent.estimate, intent.note) == (None, "", Decimal(0), "")
        line = session.scalars(select(LedgerRow)).one()
        assert (line.intent, line.estimated) == (None, Decimal("2.5"))
    with database.write() as session:
        options = {"include_object": lambda _o, name, kind, _r, _c: kind != "table" or name != "limner_schema"}
        context = MigrationContext.configure(session.connection(), opts=options)
        assert compare_metadata(context, Row.metadata) == []


def test_a_purchase_has_one_line_in_the_ledger(tmp_path: Path) -> None:
    database = make_old(tmp_path / "limner.db", "0001")
    database.migrate()
    with pytest.raises(IntegrityError), database.write() as session:
        for number in range(2):
            session.add(LedgerRow(job=str(number), intent="t", vendor="fal", what="training"))
            session.flush()


def test_an_upgrade_that_fails_leaves_the_old_release(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = make_old(tmp_path / "limner.db", "0001")

    def failing(*_words: object, **_options: object) -> None:
        raise RuntimeError("on purpose")

    with monkeypatch.context() as patched:
        patched.setattr(op, "create_index", failing)
        with pytest.raises(RuntimeError):
            database.migrate()
    assert database.version() == "0001"
    with database.read() as session:
        columns = [row[1] for row in session.execute(text("PRAGMA table_info(limner_images)"))]
    assert "generator" not in columns
    database.migrate()
    assert database.version() == SCHEMA_HEAD
