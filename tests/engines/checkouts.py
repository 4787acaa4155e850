"""Checkouts of other programs, named in the environment, and a run of a script of this folder with one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["run_with"]

HERE = Path(__file__).parent


def run_with(engine: str, script: str, *words: str | Path, folder: Path) -> str:
    """What a script prints, run with an engine's checkout in a folder, with the packages that it needs."""
    name = "LIMNER_TEST_" + engine.upper().replace("-", "_")
    checkout = os.environ.get(name, "")
    assert checkout, f"name a checkout of {engine} in {name}"
    packages = os.environ.get("LIMNER_TEST_ENGINE_PACKAGES", "")
    env = {**os.environ, "PYTHONPATH": packages, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "HOME": str(folder)}
    command = [sys.executable, HERE / script, checkout, *words]
    return subprocess.run(command, check=True, env=env, cwd=folder, stdout=subprocess.PIPE, text=True).stdout
