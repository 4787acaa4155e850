"""The database under what breaks it: many processes, locks, full disks, foreign files."""

from __future__ import annotations

import multiprocessing
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from alembic import op
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, make_url, select, text
from sqlalchemy.exc import IntegrityError

from limner.errors import Conflict, StorageFailed
from limner.store import Database
from limner.store.database import SCHEMA_HEAD
from limner.store.models import ConsentRow, LedgerRow, PhotoRow, Row, SubjectRow
from tests.waiting import PATIENCE


def subject(slug: str = "rex") -> SubjectRow:
    return SubjectRow(slug=slug, name="Rex", kind="pet", class_word="dog", trigger="rex_dog")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(tmp_path / "limner.db")
    made.migrate()
    return made


def test_migrations_make_exactly_the_models(database: Database) -> None:
    def ours(_object: object, name: str | None, kind: str, _reflected: bool, _to: object) -> bool:
        return kind != "table" or name != "limner_schema"

    with database.write() as session:
        context = MigrationContext.configure(session.connection(), opts={"include_object": ours})
        assert compare_metadata(context, Row.metadata) == []
    assert database.version() == SCHEMA_HEAD


def test_the_file_is_in_wal_with_foreign_keys_on(database: Database) -> None:
    with database.read() as session:
        assert session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert session.execute(text("PRAGMA foreign_keys")).scalar() == 1
    with pytest.raises(IntegrityError), database.write() as session:
        session.add(ConsentRow(subject="nobody", statement="yes", given_by="nobody"))


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    given = datetime(2026, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=7)))
    with database.write() as session:
        session.add(subject())
        session.flush()
        session.add(ConsentRow(subject="rex", statement="yes", given_by="owner", given_at=given))
    with database.read() as session:
        found = session.scalars(select(ConsentRow.given_at)).one()
    assert found == given
    assert found.tzinfo is UTC


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    with pytest.raises(RuntimeError), database.write() as session:
        session.add(subject())
        session.flush()
        raise RuntimeError("on purpose")
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(SubjectRow)) == 0


def _add_rows(path: Path, who: int, count: int) -> None:
    database = Database(path)
    database.migrate()
    for number in range(count):
        with database.write() as session:
            # Read, then write: what fails at once in WAL unless the write lock is taken first.
            before = session.scalar(select(func.count()).select_from(LedgerRow)) or 0
            session.add(LedgerRow(job=f"{who}-{number}", vendor="none", what=str(before)))


def test_many_processes_migrate_and_write_at_once_and_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_add_rows, args=(path, who, 25)) for who in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]
    with Database(path).read() as session:
        counts = session.scalars(select(LedgerRow.what)).all()
    # Every transaction saw all those before it: no lost update.
    assert sorted(map(int, counts)) == list(range(100))


def test_a_database_locked_by_another_process_is_told_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    Database(path).migrate()
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"import sqlite3, sys; c = sqlite3.connect({str(path)!r}, isolation_level=None); "
            "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        impatient = Database(path, busy_milliseconds=100)
        with pytest.raises(StorageFailed, match="locked by another process"), impatient.write() as session:
            session.add(subject())
        with impatient.read() as session:
            assert session.scalar(select(func.count()).select_from(SubjectRow)) == 0
    finally:
        holder.communicate("")
    with impatient.write() as session:
        session.add(subject())
    with impatient.read() as session:
        assert session.get_one(SubjectRow, "rex").name == "Rex"


def test_a_full_disk_is_told_and_what_was_there_stays(tmp_path: Path) -> None:
    """The limit on file size stands in for a full disk: the write fails half-way, in a process of its own."""
    path = tmp_path / "limner.db"
    database = Database(path)
    database.migrate()
    with database.write() as session:
        session.add(subject("kept"))
    database.dispose()
    program = textwrap.dedent(
        f"""
        import resource, signal, sys
        from pathlib import Path
        from limner.errors import StorageFailed
        from limner.store import Database
        from limner.store.models import SubjectRow
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        database = Database(Path({str(path)!r}))
        with database.read() as session:
            session.get(SubjectRow, "kept")
        resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
        try:
            with database.write() as session:
                for number in range(3000):
                    row = SubjectRow(slug=f"s{{number}}", name="x" * 200, kind="pet", class_word="dog", trigger="t")
                    session.add(row)
        except StorageFailed as failure:
            print(failure.exit_code, failure)
            sys.exit(0)
        sys.exit("the disk was never full")
        """
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "full or failing" in done.stdout
    with Database(path).read() as session:
        assert session.scalars(select(SubjectRow.slug)).all() == ["kept"]


@pytest.mark.parametrize("name", ["what?mode=memory", "100%", "a#b", "ünï 東京"])
def test_a_folder_of_any_name_holds_its_database(tmp_path: Path, name: str) -> None:
    made = Database(tmp_path / name / "limner.db")
    made.migrate()
    assert (tmp_path / name / "limner.db").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    # What the workflow engine is told must lead to the same file.
    assert make_url(made.url).database == str(made.path)


def test_a_migration_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = op.create_table, []

    def failing(name: str, *columns: object, **options: object) -> object:
        made.append(name)
        if len(made) == 5:
            raise RuntimeError("on purpose")
        return real(name, *columns, **options)

    database = Database(tmp_path / "limner.db")
    with monkeypatch.context() as patched:
        patched.setattr(op, "create_table", failing)
        with pytest.raises(RuntimeError):
            database.migrate()
    with database.read() as session:
        assert session.execute(text("SELECT name FROM sqlite_master")).all() == []
    database.migrate()
    assert database.version() == SCHEMA_HEAD


def test_a_newer_schema_is_refused(database: Database) -> None:
    with database.write() as session:
        session.execute(text("UPDATE limner_schema SET version_num = '9999'"))
    with pytest.raises(Conflict, match="newer Limner"):
        database.migrate()


@pytest.mark.parametrize("version", ["0000", "0005x", "a", "0", "-1", "\u0661\u0662", "zzz", "10000"])
def test_a_schema_that_nobody_knows_is_refused_whatever_its_name(database: Database, version: str) -> None:
    with database.write() as session:
        session.execute(text("UPDATE limner_schema SET version_num = :version"), {"version": version})
    with pytest.raises(Conflict, match=f"schema {version}, here"):
        database.migrate()


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM limner_schema",
        "INSERT INTO limner_schema VALUES ('0001')",
        "UPDATE limner_schema SET version_num = ''",
        "DROP TABLE limner_schema",
        "ALTER TABLE limner_schema RENAME COLUMN version_num TO other",
    ],
)
def test_a_database_that_does_not_say_its_schema_is_left_alone(database: Database, statement: str) -> None:
    with database.write() as session:
        session.execute(text(statement))
        before = session.execute(text("SELECT count(*) FROM sqlite_master")).scalar()
    with pytest.raises(StorageFailed, match="limner_schema names") as refused:
        database.migrate()
    assert "backup" in refused.value.remedy
    with database.read() as session:
        assert session.execute(text("SELECT count(*) FROM sqlite_master")).scalar() == before


@pytest.mark.parametrize("lost", ["-wal", "-shm"])
def test_a_log_that_was_deleted_costs_at_most_what_was_in_it(database: Database, lost: str) -> None:
    database.dispose()
    Path(f"{database.path}{lost}").unlink(missing_ok=True)
    again = Database(database.path)
    again.migrate()
    with again.read() as session:
        assert session.execute(text("PRAGMA integrity_check")).scalar() == "ok"


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    before = path.read_bytes()
    with pytest.raises(StorageFailed, match="another program's"):
        Database(path).migrate()
    assert path.read_bytes() == before


def test_a_table_that_is_gone_is_told(database: Database) -> None:
    with database.write() as session:
        session.execute(text("DROP TABLE limner_events"))
    with pytest.raises(StorageFailed, match="lacks a part"), database.read() as session:
        session.execute(text("SELECT count(*) FROM limner_events"))


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    path.mkdir()
    with pytest.raises(StorageFailed, match="limner"):
        Database(path).migrate()


def test_an_empty_file_becomes_a_database(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    path.write_bytes(b"")
    made = Database(path)
    made.migrate()
    assert made.version() == SCHEMA_HEAD


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "limner.db"
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StorageFailed, match="not a Limner database"):
        Database(path).migrate()
    assert path.read_bytes().startswith(b"not a database")


def test_removing_a_subject_takes_its_photos_along(database: Database) -> None:
    from limner.store.models import BlobRow

    with database.write() as session:
        session.add_all([subject(), BlobRow(digest="0" * 64, media_type="image/png", byte_size=1)])
        session.flush()
        session.add(PhotoRow(subject="rex", digest="0" * 64, width=1, height=1, source="a", report={}))
    with database.write() as session:
        session.delete(session.get_one(SubjectRow, "rex"))
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(PhotoRow)) == 0


def test_what_is_erased_is_overwritten_in_the_file(database: Database) -> None:
    words = "a sentence that nobody may read again"
    with database.write() as session:
        session.add(subject())
        session.flush()
        session.add(ConsentRow(subject="rex", statement=words, given_by="owner"))
    database.dispose()  # the last one to close brings the log into the file
    assert words.encode() in database.path.read_bytes()
    with database.write() as session:
        session.delete(session.get_one(SubjectRow, "rex"))
    database.dispose()
    assert not database.path.with_name("limner.db-wal").exists()
    assert words.encode() not in database.path.read_bytes()


def test_sqlite_is_new_enough_for_what_we_use() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35)
