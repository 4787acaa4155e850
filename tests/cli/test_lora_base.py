"""Which base a lora is for, asked on a terminal; without one the candidates are in the error, on every way to it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from limner.cli.consent_prompt import with_base
from limner.errors import BaseUnclear
from limner.operations.jobs.lifecycle import as_error
from limner.operations.jobs.queries import failure, failure_of
from limner.records import Job
from limner.store.models import now
from limner.types import JobState
from tests.servers.quick_engine import quick_lora

from .conftest import Shell

QUESTION = BaseUnclear("It fits a or b.", remedy="Say which base.", thing="base", candidates=("a", "b"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def start(base: str) -> str:
    if not base:
        raise QUESTION
    return base


@pytest.mark.parametrize(("typed", "chosen"), [("b\n", "b"), ("neither\n\na\n", "a")])
def test_on_a_terminal_the_user_is_asked_until_it_is_one_of_them(
    monkeypatch: pytest.MonkeyPatch, typed: str, chosen: str
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    assert with_base(start, "", as_json=False) == chosen


@pytest.mark.parametrize(("stdin", "as_json"), [(io.StringIO("a\n"), False), (Terminal("a\n"), True)])
def test_where_nobody_can_be_asked_it_is_an_error(
    monkeypatch: pytest.MonkeyPatch, stdin: io.StringIO, as_json: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    with pytest.raises(BaseUnclear):
        with_base(start, "", as_json=as_json)
    assert with_base(start, "a", as_json=as_json) == "a"


def test_the_candidates_survive_the_worker_and_the_wire() -> None:
    error = failure(as_error(QUESTION))
    ended = Job("job_1", "import", "zib", "", JobState.FAILED, None, (), ("import",), {}, error, False,
                now(), None, now())  # fmt: skip
    raised = failure_of(ended)
    assert isinstance(raised, BaseUnclear)
    assert (raised.candidates, raised.message) == (("a", "b"), QUESTION.message)


def test_an_import_says_what_it_did_and_what_it_needs_to_know(tmp_path: Path) -> None:
    limner = Shell(tmp_path / "home")
    (tmp_path / "a.safetensors").write_bytes(quick_lora("flux1-dev", 1, b"x"))
    refused = limner("loras", "import", tmp_path / "a.safetensors", "--subject", "ink", "--json")
    assert (refused.code, refused.problem["candidates"]) == (2, ["flux1-dev", "flux1-schnell"])
    looked = limner("inspect", tmp_path / "a.safetensors", "--json")
    assert (looked.code, looked.json["base"], looked.json["candidates"]) == (0, "", ["flux1-dev", "flux1-schnell"])
    made = limner("loras", "import", tmp_path / "a.safetensors", "--subject", "ink", "--base", "flux1-dev", "--json")
    assert (made.json["base"], made.json["findings"]) == ("flux1-dev", [])
