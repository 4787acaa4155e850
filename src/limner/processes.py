"""Processes of ours: nothing of the folder that the user stands in is run, and what they write is private."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

__all__ = ["forget_current_folder", "keep_private", "our_environment", "program", "python_code", "python_module"]


def python_module(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of ours with this Python: ``-P`` leaves the current folder out of its path."""
    return [sys.executable, "-P", "-m", module, *arguments]


def python_code(code: str) -> list[str]:
    """The command that runs a few lines with this Python, as ``python_module``."""
    return [sys.executable, "-P", "-c", code]


def our_environment(*more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment for one of ours, whose own children leave the current folder out too."""
    found = {**os.environ, "PYTHONSAFEPATH": "1"}
    if "PYTHONPATH" in found:
        found["PYTHONPATH"] = os.pathsep.join(_absolute(found["PYTHONPATH"]))  # an empty entry is the current folder
    for each in more:
        found |= each
    return found


def program(name: str) -> str | None:
    """The whole path of a program of this system, None if there is none; relative entries of PATH are passed over."""
    return shutil.which(name, path=os.pathsep.join(_absolute(os.environ.get("PATH", os.defpath))))


def forget_current_folder() -> None:
    """Take the folder out of ``sys.path`` that ``python -m`` put first, before anything else is imported."""
    if not sys.flags.safe_path and sys.path and Path(sys.path[0] or ".").absolute() == Path.cwd():
        del sys.path[0]


def keep_private() -> None:
    """Let what this process writes be read by its owner alone."""
    os.umask(0o077)


def _absolute(entries: str) -> list[str]:
    return [entry for entry in entries.split(os.pathsep) if Path(entry).is_absolute()]
