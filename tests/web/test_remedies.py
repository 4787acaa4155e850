"""Remedies on pages: commands become links to what does the same, and every command that is named exists."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import escape

import limner
from limner.cli.main import app
from limner.web.rendering.remedies import for_pages

HERE = Path(limner.__file__).parent
TAGS = re.compile(r"<[^>]*>")


def remedies() -> Iterator[tuple[str, str]]:
    """Where, and the text of each remedy that an error can have; what is filled in is left out."""
    for path in sorted(HERE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "remedy":
                for part in ast.walk(node.value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield f"{path.relative_to(HERE)}:{part.lineno}", part.value


def test_every_command_that_a_remedy_names_exists() -> None:
    named = [(at, words) for at, text in remedies() for words in re.findall(r"\blimner ([a-z]+)(?: ([a-z]+))?", text)]
    assert len(named) > 40
    root: Any = typer.main.get_command(app)
    groups = {noun: root.get_command(None, noun) for noun in root.list_commands(None)}
    commands = {noun: set(getattr(group, "commands", ())) for noun, group in groups.items()}
    for at, (noun, verb) in named:
        assert noun in commands, f"{at}: limner {noun}"
        assert not commands[noun] or not verb or verb in commands[noun], f"{at}: limner {noun} {verb}"


@pytest.mark.parametrize(
    ("remedy", "words", "href"),
    [
        ("Cancel it first: limner jobs cancel job_1a2b.", "Cancel it first: the page of the job.", "/jobs/job_1a2b"),
        ("Start another with `limner train`.", "Start another at the subject’s page.", "/"),
        ("Record it: limner subjects consent rex --by NAME --statement TEXT; or publish privately.",
         "Record it: its page; or publish privately.", "/subjects/rex#consent"),
        ("Look, then: limner costs decide tag-1 again (or drop, or paid).", "Look, then: Costs.", "/costs#open"),
        ("Take it away there too: limner loras delete rex@v2 --unpublish", "Take it away there too: its page",
         "/loras/rex@v2#delete"),
        ("Say yes with --yes. Up to $1.00 goes without asking (LIMNER_CONSENT_ABOVE).",
         "Say yes beside the price. Up to $1.00 goes without asking (“Ask before a step costs more than” in Settings).",
         "/settings"),
        ("Move it away, or set LIMNER_SIGN_IMAGES=false.",
         "Move it away, or set “Sign every picture” to off in Settings.",
         "/settings"),
    ],
)  # fmt: skip
def test_a_command_is_a_link_to_the_page_that_does_it(remedy: str, words: str, href: str) -> None:
    html = for_pages(remedy)
    assert TAGS.sub("", html) == words
    assert re.findall(r'href="([^"]*)"', html) == [href]


def test_what_no_page_does_stays_a_command() -> None:
    assert for_pages("See: limner inspect FILE.") == "See: <code>limner inspect FILE</code> in a terminal."
    assert for_pages("In a terminal: limner users add NAME.") == "In a terminal: limner users add NAME."
    assert for_pages("Set LIMNER_HOME to another folder.") == "Set LIMNER_HOME to another folder."


@given(st.text(max_size=200))
def test_all_else_is_text(remedy: str) -> None:
    html = for_pages(remedy)
    if "limner" not in remedy and "LIMNER" not in remedy and "--" not in remedy:
        assert html == escape(remedy)
    assert not re.search(r"<(?!/?(a|code)\b)", html)


def test_pages_show_them(client: TestClient) -> None:
    page = client.get("/jobs/job_0000000000000000")
    assert page.status_code == 404
    assert '<a href="/jobs">Jobs</a>' in page.text
    assert "limner jobs" not in page.text
