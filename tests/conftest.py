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
