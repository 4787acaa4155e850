"""The templates: their filters, what they escape, and that none holds inline script or style."""

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError

from limner.errors import NotFound
from limner.types import Finding, JobState, Severity
from limner.web.rendering.templates import (
    STATIC,
    TEMPLATES,
    byte_size,
    duration,
    money,
    number,
    page_templates,
    plural,
    price,
    static_url,
    when,
)

env = page_templates()
PAGES = sorted(TEMPLATES.rglob("*.html"))


def _render(text: str, **context: object) -> str:
    return env.from_string('{% import "components/ui.html" as ui %}' + text).render(**context)


# --- filters ---


@given(st.decimals(min_value=-(10**9), max_value=10**9, allow_nan=False, places=6))
def test_money_is_never_nothing_when_it_is_something(amount: Decimal) -> None:
    words = money(amount)
    assert "$" in words
    if amount:
        assert re.search(r"[1-9]", words)
    assert words.startswith("-") == (amount < 0)


def test_money_and_price_in_words() -> None:
    assert [money(one) for one in (Decimal("2.4"), 0, 1204.5, 0.0012, None)] == [
        "$2.40",
        "$0.00",
        "$1,204.50",
        "$0.0012",
        "not known",
    ]
    assert price(Decimal(0)) == "free"
    assert price(0, certain=False) == "price not known"
    assert price(2.4) == "about $2.40"
    assert price(2.4, certain=False) == "perhaps $2.40"


@given(st.floats(min_value=-10, max_value=1e7, allow_nan=False))
def test_a_duration_is_never_negative_and_has_a_unit(seconds: float) -> None:
    assert re.fullmatch(r"[\d.]+ (s|min \d\d s|h \d\d min)", duration(seconds))


@given(st.datetimes(timezones=st.timezones()))
def test_a_time_names_the_same_moment_whatever_its_zone(at: datetime) -> None:
    try:
        utc = at.astimezone(UTC)
    except OverflowError:
        return
    found = re.fullmatch(r'<time datetime="([^"]+)" data-when="at">([^<]+ UTC)</time>', str(when(at)))
    assert found
    assert datetime.fromisoformat(found[1]) == utc.replace(microsecond=0)


def test_a_time_in_words() -> None:
    at = datetime(2026, 11, 24, 1, 5, 9, tzinfo=timezone(timedelta(hours=2)))
    assert when(at, ago=True) == '<time datetime="2026-11-23T23:05:09Z" data-when="ago">23 Nov 2026, 23:05 UTC</time>'
    assert when(None) == "not known"
    with pytest.raises(ValueError, match="zone"):
        when(datetime(2026, 1, 1))


@given(st.integers(min_value=0, max_value=10**15))
def test_bytes_are_told_within_five_per_cent(count: int) -> None:
    value, unit = byte_size(count).split()
    told = float(value.replace(",", "")) * 1000 ** ["B", "kB", "MB", "GB", "TB"].index(unit)
    assert abs(told - count) <= 0.051 * count + 0.5


def test_numbers_and_counts() -> None:
    assert number(20000) == "20,000"
    assert [plural(n, "photo") for n in (0, 1, 3, 20000)] == ["no photos", "1 photo", "3 photos", "20,000 photos"]
    assert plural(2, "entry", "entries") == "2 entries"


# --- what is drawn ---


def test_everything_is_escaped() -> None:
    nasty = '"><script>alert(1)</script>'
    drawn = _render(
        '{{ ui.text_field("n", nasty, nasty, hint=nasty, error=nasty, attrs={"data-x": nasty}) }}'
        "{{ ui.notice('warning', nasty, nasty) }}{{ ui.picture(nasty, nasty, 1, 1, href=nasty, caption=nasty) }}"
        "{{ ui.subject_card(nasty, nasty, nasty, picture=nasty, alt=nasty) }}{{ ui.badge(nasty) }}"
        "{{ ui.textarea_field('t', nasty, nasty) }}{{ ui.select_field('s', nasty, [nasty], nasty) }}"
        "{{ ui.bars(nasty, [(nasty, 1, nasty)]) }}{{ ui.td(nasty, nasty) }}{{ ui.facts([(nasty, nasty)]) }}",
        nasty=nasty,
    )
    assert "<script" not in drawn
    assert drawn.count("&lt;script&gt;") > 15


def test_an_undefined_name_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        env.from_string("{{ nothing_of_this_name }}").render()


def test_a_form_needs_its_token() -> None:
    assert 'value="a&#34;b"' in env.from_string("{{ csrf_field() }}").render(csrf_token='a"b')
    with pytest.raises(UndefinedError, match="csrf_token"):
        env.from_string("{{ csrf_field() }}").render()
    drawn = _render('{{ ui.post_button("/x", "Go", csrf_field()) }}', csrf_token="tok")
    assert '<input type="hidden" name="csrf_token" value="tok">' in drawn


def test_states_take_the_words_of_the_records() -> None:
    for state in JobState:
        assert state.value.capitalize() in _render("{{ ui.state(s) }}", s=state)
    found = Finding("too-small", Severity.REFUSAL, "It is too small.", "Take a larger one.")
    assert "notice-refusal" in _render("{{ ui.finding(f) }}", f=found)


def test_progress_of_unknown_length_has_no_value() -> None:
    assert "value=" not in _render('{{ ui.progress("Waiting") }}')
    assert 'max="10" value="4"' in _render('{{ ui.progress("At work", 4, 10, "steps", 65) }}')
    assert "1 min 05 s left" in _render('{{ ui.progress("At work", 4, 10, "steps", 65) }}')


def test_a_field_is_bound_to_its_label_hint_and_error() -> None:
    drawn = _render('{{ ui.text_field("name", "Name", hint="As you say it.", error="It is empty.") }}')
    assert '<label class="field-label" for="f-name">' in drawn
    assert 'aria-describedby="f-name-hint f-name-error" aria-invalid="true"' in drawn
    assert 'id="f-name-hint"' in drawn
    assert 'id="f-name-error"' in drawn


def test_an_error_says_what_happened_and_what_to_do() -> None:
    failure = NotFound("There is no subject zibbo.", remedy="Look at the list of subjects.")
    drawn = env.get_template("pages/error.html").render(failure=failure, status_code=404, csrf_token="tok")
    assert "<h1>Not found</h1>" in drawn
    assert '<meta name="limner-page" content="error">' in drawn
    for text in (drawn, env.get_template("fragments/refused.html").render(failure=failure)):
        assert "There is no subject zibbo." in text
        assert "Look at the list of subjects." in text


def test_the_layout_shows_the_notice_and_marks_where_one_is() -> None:
    text = '{% extends "layout.html" %}{% set nav = "jobs" %}{% block title %}Jobs{% endblock %}'
    notice = {"kind": "note", "message": "It waits.", "remedy": "", "link": "/jobs/1"}
    drawn = env.from_string(text).render(csrf_token="tok", notice=notice)
    assert re.search(r'<a href="/jobs" aria-current="page">', drawn)
    assert drawn.count("aria-current") == 1
    assert re.search(
        r'id="notices"[^>]*>\s*<div class="notice notice-note".*It waits.*href="/jobs/1"', drawn, re.DOTALL
    )
    assert "<title>Jobs · Limner</title>" in drawn


# --- addresses of files ---


def test_an_address_changes_with_the_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("limner.web.rendering.templates.STATIC", tmp_path)
    (tmp_path / "a.css").write_text("a {}")
    first = static_url("a.css")
    assert first == static_url("a.css")
    (tmp_path / "a.css").write_text("a { color: red }")
    assert re.fullmatch(r"/static/a\.css\?v=[0-9a-f]{12}", static_url("a.css"))
    assert static_url("a.css") != first
    with pytest.raises(FileNotFoundError):
        static_url("b.css")


# --- every template ---


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_no_template_holds_inline_script_or_style(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"""[\s"']style\s*=""", text)
    assert not re.search(r"<style\b", text)
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)
    assert not re.search(r"<script[^>]*>[^<\s]", text)
    assert not re.search(r"""[\s"'](data-)?hx-on|[\s"']on(?!ce\b)[a-z]+\s*=|javascript:|["']js:""", text)
    assert not re.search(r"""(src|href)=["'](https?:)?//""", text)


FORMS_WITH_TOKENS_BESIDE = {
    found
    for path in PAGES
    for found in re.findall(
        r"""name="csrf_token" value="\{\{ csrf_token \}\}" form="([\w-]+)\"""", path.read_text(encoding="utf-8")
    )
}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(TEMPLATES)))
def test_every_form_that_posts_holds_its_token(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for form in re.findall(r"""<form[^>]*method=["']post["'].*?</form>""", text, re.DOTALL | re.IGNORECASE):
        # An upload carries it in its address; a form that is kept for all visitors gets it from beside.
        beside = re.search(r"""<form[^>]* id=["']([\w-]+)""", form)
        held = "csrf_field()" in form or "{{ csrf }}" in form or "?csrf_token={{ csrf_token|urlencode }}" in form
        assert held or (beside and beside[1] in FORMS_WITH_TOKENS_BESIDE), form[:200]


class _Ids(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.needed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        for name in ("for", "aria-describedby", "aria-labelledby", "data-opens", "data-mirrors"):
            self.needed += (given.get(name) or "").split()


def test_the_style_page_shows_every_macro_and_its_ids_are_whole() -> None:
    template = (TEMPLATES / "pages/styleguide.html").read_text(encoding="utf-8")
    macros = [name for name in vars(env.get_template("components/ui.html").module) if not name.startswith("_")]
    assert len(macros) > 30
    shown = {name for name in macros if re.search(rf"ui\.{name}\(", template)}
    assert shown == set(macros)
    drawn = env.get_template("pages/styleguide.html").render(csrf_token="tok", now=datetime.now(UTC))
    found = _Ids()
    found.feed(drawn)
    assert len(found.ids) == len(set(found.ids))
    assert set(found.needed) <= set(found.ids)


def test_the_style_sheets_take_every_colour_from_the_tokens() -> None:
    known = set(re.findall(r"^\s*(--[\w-]+):", (STATIC / "css/tokens.css").read_text(), re.MULTILINE))
    for sheet in STATIC.glob("css/*.css"):
        text = sheet.read_text()
        local = set(re.findall(r"^\s*(--[\w-]+):", text, re.MULTILINE))
        assert set(re.findall(r"var\((--[\w-]+)", text)) <= known | local, sheet.name
        if sheet.name != "tokens.css":
            plain = re.sub(r"url\([^)]*\)", "", text)
            assert not re.search(r":[^;{]*(#[0-9a-f]{3,8}\b|rgb\()", plain), sheet.name
