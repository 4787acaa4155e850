"""How things are printed: progress, tables, errors; and how recipe fields are read."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from limner.cli.main import run
from limner.cli.output import ago, console, hanging, short, size, table
from limner.cli.progress import Display, details, drawn
from limner.cli.trainings import recipe_settings
from limner.plain_text import plain
from limner.records import Job, StageRun
from limner.types import JobState, Progress, Visibility

NOW = datetime(2026, 1, 10, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (timedelta(seconds=5), "just now"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=23), "23 h ago"),
        (timedelta(days=1), "1 day ago"),
        (timedelta(days=6), "6 days ago"),
    ],
)
def test_times(before: timedelta, words: str) -> None:
    assert ago(NOW - before, NOW) == words


def test_old_times_are_dates() -> None:
    assert ago(NOW - timedelta(days=40), NOW).startswith("2025-12-0")


@pytest.mark.parametrize(("count", "words"), [(0, "0 B"), (999, "999 B"), (1200, "1.2 kB"), (3_400_000, "3.4 MB")])
def test_sizes(count: int, words: str) -> None:
    assert size(count) == words


def test_short_names() -> None:
    assert short("training_0123456789abcdef") == "01234567"
    assert short("0123456789abcdef") == "01234567"


def test_progress_in_words() -> None:
    known = Progress("training", 120, 1000, "steps", rate=1.52, seconds_left=579, loss=0.42134, message="training")
    assert details(known) == "120/1000  1.5 steps/s  9 min 39 s left  loss 0.4213"
    assert details(Progress("training", 1, 9, "step", rate=0.05)) == "1/9  20.0 s a step"
    assert details(Progress("training", 0, 9, "step", message="loading the base")) == "0/9  loading the base"
    assert details(Progress("publish", message="Publishing to folder")) == "Publishing to folder"
    assert details(None) == ""


def job(state: JobState, progress: Progress | None = None) -> Job:
    train = StageRun("train", state, 61.0 if state.ended else None, {"lora": "rex@v1"} if state.ended else {})
    done = StageRun("intake", JobState.DONE, 3.2, {"accepted": 8, "warned": 1, "refused": 2})
    return Job(
        "job_1", "run", "rex", "", state, progress, (done, train), ("intake", "train"), {}, None, False, NOW, NOW, None
    )


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_stage_is_one_line_of_the_terminal(width: int) -> None:
    progress = Progress("training", 1200, 2000, "steps", rate=12.3, seconds_left=3599, loss=1.2906, message="training")
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(drawn(job(JobState.RUNNING, progress), width))
    photos, training = out.getvalue().splitlines()
    assert photos.startswith("✓  Photos    3.2 s")
    assert training.startswith("●  Training  ")
    assert max(len(photos), len(training)) <= width
    assert ("━" in training) == (width >= 80)
    if width >= 80:
        assert "1200/2000  12.3 steps/s  59 min 59 s left  loss 1.2906" in training


def test_a_terminal_shows_how_the_job_ended() -> None:
    out = io.StringIO()
    screen = Console(file=out, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    with Display(screen) as display:
        display.update(job(JobState.RUNNING))
        display.update(job(JobState.DONE))
    assert "✓  Photos    3.2 s        9 accepted, 1 with a warning, 2 refused" in out.getvalue()
    assert "✓  Training  1 min 01 s   rex@v1" in out.getvalue()


def test_without_a_terminal_a_stage_is_a_line_when_it_has_ended() -> None:
    out = io.StringIO()
    with Display(Console(file=out, width=200)) as display:
        display.update(job(JobState.RUNNING))
        display.update(job(JobState.RUNNING))
        display.update(job(JobState.DONE))
    assert out.getvalue().splitlines() == [
        "Photos: done, 3.2 s. 9 accepted, 1 with a warning, 2 refused",
        "Training: done, 1 min 01 s. rex@v1",
    ]


def test_a_quiet_display_prints_nothing() -> None:
    out = io.StringIO()
    with Display(Console(file=out, force_terminal=True), quiet=True) as display:
        display.update(job(JobState.DONE))
    assert out.getvalue() == ""


def test_a_hanging_paragraph_never_breaks_a_path() -> None:
    out = io.StringIO()
    path = "/a/very/long/path/" + "x" * 60
    hanging(Console(file=out, width=40), "✗", f"The file {path} cannot be read by this program.", indent=4)
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("✗   The file")
    assert all(line.startswith("    ") for line in lines[1:])
    assert any(path in line for line in lines)


def test_a_table_in_a_pipe_is_one_line_a_row_and_markup_is_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    table(console(), ("photo", "caption"), [("[bold]x", "y" * 300), ("z", "")], "")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "[bold]x" in lines[1]
    assert "y" * 300 in lines[1]
    table(console(), ("photo",), [], "No photo yet: limner photos add [SLUG]")
    assert capsys.readouterr().out == "No photo yet: limner photos add [SLUG]\n"


def test_colour_is_left_out_where_no_color_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setenv("NO_COLOR", "1")
    hanging(Console(file=out, width=40, force_terminal=True), "✗", "Wrong.", indent=2, colour="red")
    assert "\x1b[31m" not in out.getvalue()


@dataclass
class Kept:
    path: Path
    made_at: datetime
    price: Decimal
    seen: Visibility
    rows: tuple[tuple[int, float], ...]


def test_records_become_json() -> None:
    kept = Kept(Path("a/b"), NOW, Decimal("0.10"), Visibility.PRIVATE, ((1, 0.5),))
    assert json.loads(json.dumps(plain({"kept": kept}))) == {
        "kept": {
            "path": "a/b",
            "made_at": "2026-01-10T12:00:00+00:00",
            "price": "0.10",
            "seen": "private",
            "rows": [[1, 0.5]],
        }
    }


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,12}", fullmatch=True),
        st.integers() | st.floats(allow_nan=False) | st.from_regex(r"[a-z][a-z-]{0,9}[a-z]", fullmatch=True).filter(
            lambda word: word not in ("inf", "nan", "infinity")
        ),
        max_size=5,
    )
)  # fmt: skip
def test_recipe_fields_come_back_as_they_were(values: dict[str, object]) -> None:
    pairs = [f"{name}={value}" for name, value in values.items()]
    assert recipe_settings(pairs) == values


@given(st.text())
def test_any_text_is_a_recipe_field_or_a_misuse(text: str) -> None:
    try:
        settings = recipe_settings([text])
    except typer.BadParameter:
        assert "=" not in text
    else:
        assert "=" in text
        assert len(settings) == 1


def test_a_mistake_of_ours_is_one_message_and_the_details_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from limner.cli import subjects

    def broken() -> None:
        raise ZeroDivisionError("something that nobody thought of")

    monkeypatch.setenv("LIMNER_HOME", str(tmp_path))
    monkeypatch.setattr(subjects, "studio", broken)
    assert run(["subjects", "list"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("✗ An unexpected ZeroDivisionError: something that nobody thought of")
    assert "Traceback" not in said
    assert "ZeroDivisionError" in (tmp_path / "logs" / "cli.log").read_text()
