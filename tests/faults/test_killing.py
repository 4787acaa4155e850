"""The short form of ``python -m tests.faults.killing``: a few runs, each killed several times over."""

from __future__ import annotations

from pathlib import Path

import pytest

from .killing import Outcome, killed, undisturbed

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Outcome, int]:
    return undisturbed(tmp_path_factory.mktemp("alone"))


def test_a_run_leaves_no_stray_blob(alone: tuple[Outcome, int]) -> None:
    wanted, moments = alone
    assert wanted.stray_blobs == 0
    assert moments > 60


@pytest.mark.parametrize(
    "everything", [pytest.param(False, marks=pytest.mark.long), True], ids=["worker", "everything"]
)
def test_a_run_killed_many_times_ends_as_one_that_was_left_alone(
    tmp_path: Path, alone: tuple[Outcome, int], everything: bool
) -> None:
    wanted, moments = alone
    spread = [round(moments * part) for part in (0.12, 0.25, 0.4, 0.15, 0.3)]
    found, died = killed(tmp_path, spread, everything=everything)
    assert died >= 3
    assert found == wanted
