"""The command line as a user has it: words in; exit code, output and errors out. One trained home for all tests."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from limner.cli.main import run
from tests.operations.conftest import QUICK, draw_photos, kill_all


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        return json.loads(self.err)


class Shell:
    """Runs commands in this process on a home folder; workers are processes of their own as always."""

    def __init__(self, home: Path) -> None:
        self.home = home

    @property
    def environment(self) -> dict[str, str]:
        return {
            **{k: v for k, v in os.environ.items() if k not in ("COLUMNS", "FORCE_COLOR")},
            "LIMNER_HOME": str(self.home),
            "LIMNER_WORKER_IDLE_SECONDS": "90",
            "OMP_NUM_THREADS": "1",
        }

    def __call__(self, *words: object, env: Mapping[str, str] | None = None) -> Outcome:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, {**self.environment, **(env or {})}, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run([str(word) for word in words])
        assert "Traceback" not in err.getvalue()
        return Outcome(code, out.getvalue(), err.getvalue())


@pytest.fixture
def limner(tmp_path: Path) -> Iterator[Shell]:
    """A command line with a home of its own, empty at first."""
    home = tmp_path / "home"
    yield Shell(home)
    kill_all(home)


QUICK_WORDS = [word for name, value in QUICK.items() for word in ("--set", f"{name}={value}")]
SMALL_PICTURE = ("--width", "64", "--height", "64", "--steps", "2")


@dataclass(frozen=True)
class Trained:
    """A home in which ``limner run`` was done once, for the subject ``zib``."""

    limner: Shell
    photos: Path
    pictures: Path
    run: Outcome


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """Photos, a lora and a picture; its worker stays for all tests, each of which uses a subject of its own."""
    folder = tmp_path_factory.mktemp("trained")
    photos = draw_photos(folder / "photos")
    limner = Shell(folder / "home")
    words = ["run", photos, "--name", "zib", "--kind", "character", "--trigger", "zibbo"]
    words += ["--prompt", "a drawing of {trigger}", "--seed", "7", "--out", folder / "pictures", *QUICK_WORDS]
    outcome = limner(*words)
    yield Trained(limner, photos, folder / "pictures", outcome)
    kill_all(folder)
