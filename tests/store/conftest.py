"""Here databases are migrated by the migrations themselves."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module", autouse=True)
def new_databases_at_once() -> None:
    """Not here."""
