"""A database of an earlier release is brought to this one with all that is in it."""

from __future__ import annotations

from collections.abc import Sequence
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
from limner.store.models import CurvePointRow, ImageRow, IntentRow, LedgerRow, LoraRow, Row
from limner.store.web_models import VoteRow

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


ROWS_OF_0003 = (
    "INSERT INTO limner_blobs VALUES ('d1', 'image/png', 10, '2026-01-01 00:00:00')",
    "INSERT INTO limner_generations (id, prompt, base, generator, loras, width, height, steps, guidance, seed, count, "
    "state, created_at) VALUES ('g1', 'rex', 'limner-tiny', 'local', '[]', 64, 64, 1, 2.0, 7, 5, 'done', "
    "'2026-01-01 00:00:00')",
    "INSERT INTO limner_images (id, generation, position, digest, media_type, width, height, seed, seconds, generator, "
    "favourite, created_at) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) "
    "SELECT i * 3, 'g1', i, 'd1', 'image/png', 64, 48, 2305843009213693951 + i, 0.1 * i, 'fal', i % 2, "
    "'2026-01-02 03:04:05.678901' FROM n",
    "INSERT INTO limner_grids (id, owner, prompt, request, x, y, cells, created_at) VALUES ('grid_1', 'ann', 'p', "
    "'{}', '{}', '{}', '[]', '2026-01-01 00:00:00')",
    "INSERT INTO limner_votes VALUES (1, 'grid_1', 3, 6000, '2026-01-01 00:00:00')",
    "INSERT INTO limner_votes VALUES (4, 'grid_1', 6, 9, '2026-01-01 00:00:00')",
)


def make_old(path: Path, revision: str, rows: Sequence[str] = OLD_ROWS) -> Database:
    """A database of an earlier release, with a row of each kind that has changed since."""
    database = Database(path)
    with database._writer.begin() as connection, as_file(files("limner.store.migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        for row in rows:
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
    compare(database)


def test_the_curves_of_trainings_become_rows(tmp_path: Path) -> None:
    rows = (
        "INSERT INTO limner_subjects (slug, name, kind, class_word, trigger, created_at) "
        "VALUES ('rex', 'Rex', 'pet', 'dog', 'rex_dog', '2026-01-01 00:00:00')",
        "INSERT INTO limner_datasets VALUES ('d', 'rex', 64, 1, '{}', '2026-01-01 00:00:00')",
        "INSERT INTO limner_trainings (id, subject, dataset, base, trainer, recipe, sample_prompts, state, reference, "
        "progress, losses, rates, created_at) VALUES ('t', 'rex', 'd', 'b', 'local', '{}', '[]', 'done', '', '{}', "
        "'[[1, 0.5], [2, NaN]]', '[]', '2026-01-01 00:00:00')",
    )
    database = make_old(tmp_path / "limner.db", "0008", rows)
    database.migrate()
    with database.read() as session:
        found = session.scalars(select(CurvePointRow).order_by(CurvePointRow.step)).all()
        assert [(one.training, one.curve, one.step, one.value) for one in found] == [
            ("t", "loss", 1, 0.5),
            ("t", "loss", 2, None),
        ]
    compare(database)


def compare(database: Database) -> None:
    """The schema is that of the models."""
    with database.write() as session:
        options = {"include_object": lambda _o, name, kind, _r, _c: kind != "table" or name != "limner_schema"}
        context = MigrationContext.configure(session.connection(), opts=options)
        assert compare_metadata(context, Row.metadata) == []


def test_pictures_are_numbered_once_with_all_that_refers_to_them(tmp_path: Path) -> None:
    database = make_old(tmp_path / "limner.db", "0003", ROWS_OF_0003)

    def everything() -> list[object]:
        columns = ", ".join(column.name for column in ImageRow.__table__.columns)
        with database.read() as session:
            return [
                *session.execute(text(f"SELECT {columns} FROM limner_images ORDER BY id")),
                *session.execute(text("SELECT id, grid, winner, loser, created_at FROM limner_votes ORDER BY id")),
            ]

    before = everything()
    assert len(before) == 2002
    database.migrate()
    assert everything() == before
    compare(database)
    with database.read() as session:
        assert session.execute(text("PRAGMA foreign_key_check")).all() == []
        referred = session.execute(text("PRAGMA foreign_key_list(limner_votes)")).all()
        assert {row[2] for row in referred} == {"limner_images", "limner_grids"}
        assert session.execute(text("PRAGMA integrity_check")).scalar() == "ok"
    new = {"position": 0, "digest": "d1", "media_type": "", "width": 1, "height": 1, "seed": 1, "seconds": 0.0}
    with database.write() as session:
        session.delete(session.get_one(ImageRow, 6000))
        session.flush()
        session.add(ImageRow(generation="g1", **new))
        session.flush()
        assert session.scalars(select(ImageRow.id).order_by(ImageRow.id.desc())).first() == 6001
        assert session.scalars(select(VoteRow.id)).all() == [4], "votes go with their pictures, as before"


def test_whatever_a_row_refers_to_is_found_by_an_index(tmp_path: Path) -> None:
    """Deleting the row that is referred to looks for those that refer to it, with everybody else waiting."""
    Database(tmp_path / "limner.db").migrate()
    database = Database(tmp_path / "limner.db")
    # Parents that go one by one, however many they are.
    many = {"limner_blobs", "limner_images", "limner_generations", "limner_jobs", "limner_events"}
    with database.read() as session:
        for table in Row.metadata.sorted_tables:
            first = {
                session.execute(text(f"PRAGMA index_info({name!r})")).all()[0][2]
                for _, name, *_ in session.execute(text(f"PRAGMA index_list({table.name})")).all()
            }
            for key in table.foreign_keys:
                if key.column.table.name in many:
                    assert key.parent.name in first, f"{table.name}.{key.parent.name}"


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
