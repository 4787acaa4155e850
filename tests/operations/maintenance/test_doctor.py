"""The doctor: its lines come side by side, what hangs is a line too, and torch is asked in a process of its own."""

from __future__ import annotations

import importlib.metadata
import threading
from pathlib import Path

import pytest

from limner import Studio
from limner.operations.home import accounts
from limner.operations.maintenance import doctor
from limner.records import Check


def test_what_hangs_is_a_line_of_its_own_and_the_others_are_told_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = threading.Event()
    told: list[Check] = []
    monkeypatch.setattr(doctor, "SECONDS", 1.0)
    monkeypatch.setattr(accounts, "checks", lambda *_: stuck.wait(60))
    with Studio(tmp_path) as studio:
        report = studio.maintenance.doctor(tell=told.append)
    stuck.set()
    assert told == list(report.checks)
    assert [check.area for check in report.checks if check.state == "problem"] == ["accounts"]
    assert "none within 1 s" in told[-1].detail
    assert {"used by default", "data", "installed", "bases", "machine"} < {check.area for check in told}


def test_probes_work_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=20)

    def line(area: str) -> Check:
        both.wait()  # breaks, unless the other one is at work too
        return Check(area, "one", "ok", "")

    monkeypatch.setattr(doctor, "_device", lambda: line("machine"))
    monkeypatch.setattr(accounts, "checks", lambda *_: [line("accounts")])
    with Studio(tmp_path) as studio:
        assert studio.maintenance.doctor().healthy


@pytest.mark.parametrize(
    ("program", "state", "words"),
    [
        ("print('NVIDIA H200, 139 GiB')", "ok", "NVIDIA H200, 139 GiB"),
        ("", "ok", "want a GPU"),
        ("raise ImportError('libcudart.so.13')", "problem", "cannot be loaded"),
    ],
)
def test_a_torch_that_may_find_a_gpu_is_asked_in_a_process_of_its_own(
    program: str, state: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "2.13.0")
    monkeypatch.setattr(doctor, "ASK_TORCH", program)
    found = doctor._device()
    assert (found.state, words in found.detail) == (state, True), found


def test_what_torch_is_asked_can_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert doctor._ask_torch() in ("", "Apple GPU (mps)")
