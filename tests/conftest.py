"""What holds for all tests: no property test fails because the machine was busy, no hub is reached by mistake."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine, inspect

# Read by huggingface_hub when it is imported: a stand-in hub has no Xet.
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

from tests.network_guard import asked, asked_within_sessions, watch_network

settings.register_profile("limner", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("limner")


@pytest.fixture(scope="module", autouse=True)
def catalog_of_its_own() -> Iterator[None]:
    """The rows that a rehearsal lays over the catalog hold for the process: here they end with the file."""
    bases, hosted = import_module("limner.catalog.bases"), import_module("limner.catalog.hosted")
    before = list(bases._own), list(hosted._own)
    yield
    bases._own[:], hosted._own[:] = before
    bases.bases.cache_clear()


@pytest.fixture(scope="session", autouse=True)
def network_watched() -> Iterator[None]:
    """Every request that leaves the process is seen, and whether a session of the database was open meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        watch_network(patch)
        yield


@pytest.fixture(autouse=True)
def no_network_within_sessions(network_watched: None) -> Iterator[None]:
    """Nothing asks the network while a database session is open: it would hold up everybody else's."""
    asked.clear()
    asked_within_sessions.clear()
    yield
    assert not asked_within_sessions, asked_within_sessions[0]


@pytest.fixture(scope="session")
def real_photos() -> list[Path]:
    """The photos of one real subject that ship with Limner."""
    return sorted(Path(__file__).parents[1].glob("src/limner/demo/photos/*.jpg"))


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random FLUX.1 pipeline of tiny widths."""
    import_module("torch").set_num_threads(1)
    folder: Path = import_module("tests.flux.random_pipelines").save_flux1(tmp_path_factory.mktemp("base"))
    return folder


@pytest.fixture(scope="session")
def schema(tmp_path_factory: pytest.TempPathFactory) -> Schema:
    return Schema(tmp_path_factory.mktemp("schema") / "limner.db")


@pytest.fixture(scope="module", autouse=True)
def new_databases_at_once(schema: Schema) -> Iterator[None]:
    """A new database gets the tables of a migrated one; `tests/store` migrates, as every other process does."""
    with pytest.MonkeyPatch.context() as planted:
        planted.setattr("limner.store.migrations.upgrade.upgrade", schema.make)
        yield


class Schema:
    """What migrating a new database makes, the workflow engine's tables included: found once, then copied."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._migrate = import_module("limner.store.migrations.upgrade").upgrade

    @cached_property
    def statements(self) -> list[str]:
        database = import_module("limner.store").Database(self._path)
        self._migrate(database._writer)
        import_module("limner.operations.home.dbos_engine").prepare(database)
        database.dispose()
        with closing(sqlite3.connect(self._path)) as connection:
            return list(connection.iterdump())[1:-1]

    def make(self, engine: Engine) -> None:
        """In the place of ``upgrade``: as that, in one transaction; what is no new database is migrated."""
        statements = self.statements
        with engine.begin() as connection:
            new = not inspect(connection).get_table_names()
            for statement in statements if new else ():
                connection.exec_driver_sql(statement)
        if not new:
            self._migrate(engine)
