"""What holds for all tests: no property test fails because the machine was busy, no hub is reached by mistake."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib import import_module

import pytest
from hypothesis import HealthCheck, settings

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
