"""schemathesis on the API of a seeded home: a short run here, a long one with LIMNER_FUZZ_MINUTES=10."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.web.api.fuzzing import fuzz
from tests.web.api.seeded import seed

SHORT = 18
LEAST = 20
"""Operations that the short run reaches wherever it runs; a long one reaches all."""
DESCRIBED = Path(__file__).with_name("openapi.json")
METHODS = {"get", "put", "post", "patch", "delete", "head", "options"}
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
    counted = re.search(r"Selected: (\d+)/(\d+)\s+Tested: (\d+)", said)
    assert counted is not None, said[-2_000:]
    selected, known, tested = map(int, counted.groups())
    operations = sum(map(len, (METHODS & item.keys() for item in json.loads(DESCRIBED.read_text())["paths"].values())))
    assert known == operations and selected == operations - 1, "all but the one that fuzzing.py leaves out"
    # The order is that of the description, so a short run on a busy machine gets so far at least.
    assert tested == selected if MINUTES else tested >= LEAST, said[-2_000:]
