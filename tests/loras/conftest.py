"""Thousands of small files are written here, and none has to outlive the machine's power."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setattr("limner.loras.file.writing.os.fsync", lambda descriptor: None)
    yield
    patch.undo()
