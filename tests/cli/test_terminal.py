"""What reaches a terminal: no character of others that is not seen, in any encoding, however narrow or closed it is."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import sqlalchemy as sa
import typer

from limner.cli import subjects
from limner.cli.main import run
from limner.cli.output import console, hanging, table
from limner.cli.progress import Display
from limner.cli.screen import Screen
from limner.cli.terminal import ERRORS, Passage, Stream
from limner.errors import WorkFailed
from limner.studio import Studio
from limner.types import JobState, Progress

from ..test_plain_text import NO_NAMES, unfit
from .test_printing import job

BAD = "".join(NO_NAMES.values())


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home whose rows an earlier Limner, or somebody else, filled with what no row should hold."""
    folder = tmp_path_factory.mktemp("home")
    with mock.patch.dict(os.environ, {"LIMNER_HOME": str(folder)}), Studio() as studio:
        studio.subjects.add("evil", kind="pet", class_word="dog")
        studio.subjects.add("rex", kind="pet", class_word="dog", name="Réx 小")
    engine = sa.create_engine(f"sqlite:///{folder / 'limner.db'}")
    text = BAD.replace("\ud800", "")
    with engine.begin() as rows:
        rows.execute(sa.text("UPDATE limner_subjects SET name = :name WHERE slug = 'evil'"), {"name": text})
    engine.dispose()
    yield folder


class Said:
    """Runs a command in this process with standard streams of an encoding; gives the code and what was written."""

    def __init__(self, home: Path, encoding: str = "utf-8", columns: int | None = None) -> None:
        self.out, self.err = io.BytesIO(), io.BytesIO()
        self.encoding = encoding
        self.environment = {"LIMNER_HOME": str(home), **({"COLUMNS": str(columns)} if columns else {})}

    def __call__(self, *words: str) -> int:
        out = io.TextIOWrapper(self.out, encoding=self.encoding)
        err = io.TextIOWrapper(self.err, encoding=self.encoding)
        with (
            mock.patch.dict(os.environ, self.environment),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(words)
        out.flush()
        err.flush()
        out.detach()
        err.detach()
        return code

    @property
    def text(self) -> str:
        return self.out.getvalue().decode(self.encoding)

    @property
    def error(self) -> str:
        return self.err.getvalue().decode(self.encoding)


# --- characters of others ---------------------------------------------------------------------------------------


def test_a_name_of_the_database_is_a_row_of_visible_characters(home: Path) -> None:
    said = Said(home, columns=120)
    assert said("subject", "list") == 0
    assert len(said.text.splitlines()) == 3
    assert not unfit(said.text, but="\n")


def test_json_keeps_the_name_and_is_visible(home: Path) -> None:
    said = Said(home)
    assert said("subject", "list", "--json") == 0
    assert not unfit(said.text, but="\n")
    assert {one["slug"]: one["name"] for one in json.loads(said.text)}["evil"] == BAD.replace("\ud800", "")


@pytest.mark.parametrize("kind", NO_NAMES)
def test_the_command_line_takes_no_such_name(home: Path, kind: str) -> None:
    said = Said(home)
    assert said("subject", "add", "another", "--kind", "pet", "--name", NO_NAMES[kind]) == 2
    assert "no visible character" in said.error and not unfit(said.error, but="\n")


def test_errors_of_vendors_and_mistakes_of_ours_are_visible(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for failure, code in ((WorkFailed(BAD, remedy=BAD, thing=BAD), WorkFailed.exit_code), (ValueError(BAD), 1)):
        for words in (("subject", "list"), ("subject", "list", "--json")):

            def broken(failure: Exception = failure) -> None:
                raise failure

            monkeypatch.setattr(subjects, "studio", broken)
            said = Said(home)
            assert said(*words) == code
            assert not unfit(said.error, but="\n")
            if "--json" in words and isinstance(failure, WorkFailed):
                assert json.loads(said.error)["detail"] == BAD


def test_whatever_prints_is_visible() -> None:
    stream = Stream(inner := io.StringIO())
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):  # type: ignore[type-var]
        print(BAD)
        sys.stdout.writelines([BAD])
        sys.stderr.write(f"Traceback {BAD}")
        logging.StreamHandler(sys.stderr).emit(logging.makeLogRecord({"msg": BAD}))
        typer.echo(BAD)
        console().print(BAD, style="red")
        hanging(console(), "!", BAD, indent=2)
        table(console(), ("a", "b"), [(BAD, BAD)], "")
        console().print("[bold]:dog: [/]")
    assert not unfit(inner.getvalue(), but="\n\t")
    assert "[bold]:dog: [/]" in inner.getvalue()
    with pytest.raises(TypeError):
        Stream(io.StringIO()).write(b"bytes")  # type: ignore[arg-type]


def test_colours_are_ours_and_nothing_else_of_others_is_one() -> None:
    out = io.StringIO()
    screen = Screen(file=out, force_terminal=True, color_system="standard", width=60, legacy_windows=False)
    screen.print("plain \x1b[31mred\x1b[0m", style="green", highlight=False)
    assert out.getvalue() == "\x1b[32mplain \N{REPLACEMENT CHARACTER}[31mred\N{REPLACEMENT CHARACTER}[0m\x1b[0m\n"


@pytest.mark.parametrize("width", [20, 40, 200])
def test_progress_stays_one_line_whatever_a_trainer_says(width: int) -> None:
    out = io.StringIO()
    screen = Screen(file=out, force_terminal=True, color_system=None, width=width, legacy_windows=False)
    with Display(screen) as display:
        display.update(job(JobState.RUNNING, Progress("training", 1, 9, "steps", message=BAD)))
    # Rich's own movements are the only ones left.
    left = out.getvalue()
    for own in ("\x1b[?25l", "\x1b[?25h", "\x1b[1A", "\x1b[2K", "\r"):
        left = left.replace(own, "")
    assert not unfit(left, but="\n")
    assert max(map(len, left.splitlines())) <= width


# --- encodings and widths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437", "latin-1", "utf-16", "utf-8", "shift_jis"])
def test_output_of_any_encoding_is_whole(home: Path, encoding: str) -> None:
    for words in (("subject", "list"), ("nonsense",), ("bases",), ("subject", "show", "rex")):
        said = Said(home, encoding)
        assert said(*words) == (2 if words == ("nonsense",) else 0), said.error
        assert said.text or said.error
    said = Said(home, encoding)
    assert said("subject", "list", "--json") == 0
    assert {one["name"] for one in json.loads(said.text)} >= {"Réx 小"}


def test_signs_have_likenesses_and_letters_their_escapes() -> None:
    assert "✓ 3×4 → 小…".encode("ascii", ERRORS) == rb"+ 3x4 > \u5c0f~"
    assert "✗ é".encode("cp437", ERRORS) == "x é".encode("cp437")


@pytest.mark.parametrize("columns", [1, 20, 40])
def test_narrow_terminals_lose_no_command(home: Path, columns: int) -> None:
    for words in (("subject", "list"), ("doctor",), ("bases",), ("backends",), ("--help",), ("train", "--help")):
        said = Said(home, columns=columns)
        assert said(*words) == 0, said.error
        if words[1:] == ("list",) and columns >= 20:
            # Each cell is whole, in a line of its own.
            assert [line.split(": ") for line in said.text.splitlines()][-7:] == [
                ["slug", "rex"],
                ["  name", "Réx 小"],
                ["  kind", "pet"],
                ["  trigger", "rex"],
                ["  class word", "dog"],
                ["  photos", "0"],
                ["  loras", "0"],
            ]


# --- closed and full --------------------------------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream that cannot be written from some letter on."""

    def __init__(self, number: int, room: int) -> None:
        super().__init__()
        self._failure, self._room = OSError(number, os.strerror(number)), room

    def write(self, text: str) -> int:
        self._room -= len(text)
        if self._room < 0:
            raise self._failure
        return super().write(text)

    def flush(self) -> None:
        if self._room < 0:
            raise self._failure


@pytest.mark.parametrize("room", [0, 10])
def test_a_reader_that_goes_away_is_no_failure_and_a_full_disk_is(home: Path, room: int) -> None:
    with mock.patch.dict(os.environ, {"LIMNER_HOME": str(home)}):
        for words in (["subject", "list"], ["subject", "list", "--json"], ["--help"]):
            with contextlib.redirect_stdout(Broken(errno.EPIPE, room)):
                assert run(words) == 0
            err = io.StringIO()
            with contextlib.redirect_stdout(Broken(errno.ENOSPC, room)), contextlib.redirect_stderr(err):
                assert run(words) == 7
            assert "No space left" in err.getvalue() and "Traceback" not in err.getvalue()
            with contextlib.redirect_stderr(Broken(errno.ENOSPC, room)):
                assert run(words) == 0 and run(["nonsense"]) == 2


def test_a_stream_that_is_not_there_takes_everything() -> None:
    closed = io.StringIO()
    closed.close()
    for stream in (Stream(None), Stream(closed), Passage(None)):
        assert stream.write("x") == 1
        stream.writelines(["x"])
        stream.flush()
        assert not stream.isatty() and stream.encoding


def test_a_true_process_with_closed_and_full_outputs(home: Path) -> None:
    """One shell for all of them, as each is a start of Python."""
    limner = f"'{sys.executable}' -P -m limner.cli.main"
    lines = [
        f"{limner} --version >&-; echo $?",
        f"{limner} --version >/dev/full; echo $?",
        f"{limner} bases --json 2>&- | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}",
    ]
    environment = {**os.environ, "LIMNER_HOME": str(home), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    ended: Any = subprocess.run(
        ["bash", "-c", "\n".join(lines)], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert ended.stdout.split() == ["0", "7", "0"]
    assert "Traceback" not in ended.stderr and "Exception ignored" not in ended.stderr
