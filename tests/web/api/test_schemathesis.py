"""schemathesis on the API of a seeded home: a short run here, a long one with LIMNER_FUZZ_MINUTES=10."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.web.api.fuzzing import fuzz
from tests.web.api.seeded import seed

SHORT = 25
MINUTES = float(os.environ.get("LIMNER_FUZZ_MINUTES", "0"))


@pytest.mark.timeout(int(MINUTES * 60) + 300)
def test_nothing_that_is_sent_finds_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    import keyring
    from keyring.backends import null

    before = keyring.get_keyring()
    keyring.set_keyring(null.Keyring())
    try:
        seconds, number = (int(MINUTES * 60), int(os.environ.get("LIMNER_FUZZ_SEED", "1"))) if MINUTES else (SHORT, 1)
        code, said = fuzz(seed(tmp_path / "home"), tmp_path, seconds=seconds, seed=number)
    finally:
        keyring.set_keyring(before)
    assert code == 0, said[-8_000:]
    assert "Coverage" in said and " passed" in said
