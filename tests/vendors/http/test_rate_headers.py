"""What answers tell of rate limits: every form in use is read, and nothing that can be sent does harm."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.vendors.http.answers import Answer, message_of, read_json
from limner.vendors.http.backoff import MOST, retry_delay
from limner.vendors.http.rate_headers import LONGEST, Told, read_told, words_of_wait

WALL = 1_795_000_000.0


def told(headers: dict[str, str], body: Any = None) -> Told:
    return read_told(headers, body, refused=True, wall=WALL)


def date(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(WALL, UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "12"}, 12),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": date(45)}, 45),
        ({"retry-after": date(-45)}, 0),
        # The vendor's clock goes an hour wrong: its own date says what it means.
        ({"retry-after": date(3645), "date": date(3600)}, 45),
        ({"x-ratelimit-reset": "3"}, 3),
        ({"x-ratelimit-reset": "1.25"}, 1.25),
        ({"x-ratelimit-reset": str(int(WALL) + 20)}, 20),
        ({"x-ratelimit-reset": str((int(WALL) + 20) * 1000)}, 20),
        ({"x-ratelimit-reset": str(int(WALL) - 20)}, 0),
        ({"x-ratelimit-reset": "2026-11-18T07:47:20Z"}, LONGEST),
        ({"ratelimit-reset": "50"}, 50),
        ({"ratelimit": "limit=100, remaining=0, reset=50"}, 50),
        ({"ratelimit": '"api";r=0;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'}, 55),
        ({"retry-after": "2", "x-ratelimit-reset": "9"}, 2),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-5"}, 0),
        ({}, None),
    ],
)
def test_the_wait_is_read_in_every_form(headers: dict[str, str], wait: float | None) -> None:
    found = told(headers).wait
    if wait is None or found is None:
        assert found is wait
    elif wait == LONGEST:
        assert 0 <= found <= LONGEST
    else:
        assert found == pytest.approx(wait, abs=1)


def test_limits_and_what_is_left() -> None:
    hub = told({"ratelimit": '"api";r=37;t=55', "ratelimit-policy": '"fixed window";"api";q=500;w=300'})
    assert (hub.remaining, hub.reset, hub.limit, hub.window) == (37, 55, 500, 300)
    old = told({"ratelimit-limit": "100, 100;w=60", "ratelimit-remaining": "7", "ratelimit-reset": "9"})
    assert (old.limit, old.remaining, old.reset) == (100, 7, 9)
    other = told({"x-ratelimit-limit": "10", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"})
    assert (other.limit, other.remaining, other.reset) == (10, 0, 1)


def test_a_reset_in_a_good_answer_is_no_wait() -> None:
    assert read_told({"x-ratelimit-reset": "30", "x-ratelimit-remaining": "5"}, refused=False).wait is None


@pytest.mark.parametrize(
    ("words", "wait"),
    [
        ("Request was throttled. Your rate limit resets in ~30s.", 30),
        ("Your rate limit for creating predictions is reduced to 6 requests per minute. It resets in ~9s", 9),
        ("Please try again in 2 minutes", 120),
        ("Rate limited; retry after 500ms", 0.5),
        ("Please wait 1.5 seconds", 1.5),
        ("Too many requests (60 per minute)", None),
        ("no numbers", None),
    ],
)
def test_words_are_understood(words: str, wait: float | None) -> None:
    for body in (words, {"detail": words}, {"error": {"message": words}}):
        assert words_of_wait(body) == wait


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(["detail", "message", "error", "msg", "loc", "errors", "x"]), inner, max_size=5
        )
    ),
    max_leaves=30,
)
ODD = st.text(max_size=60) | st.from_regex(r"[-+]?\d{1,40}(\.\d{1,20})?(e\d{1,3})?", fullmatch=True)
NAMES = (
    "retry-after",
    "retry-after-ms",
    "x-ratelimit-reset",
    "ratelimit-reset",
    "ratelimit",
    "ratelimit-policy",
    "x-ratelimit-remaining",
    "x-ratelimit-limit",
    "date",
)


@given(
    st.dictionaries(st.sampled_from(NAMES), ODD), JSON, st.integers(0, 1000), st.sampled_from([0, 200, 429, 500, 503])
)
def test_no_headers_and_no_body_can_break_the_wait(
    headers: dict[str, str], body: Any, attempt: int, status: int
) -> None:
    found = read_told(headers, body, refused=True)
    for value in (found.wait, found.reset, found.window, found.remaining, found.limit):
        assert value is None or (math.isfinite(value) and value >= 0)
    assert found.wait is None or found.wait <= LONGEST
    wait = retry_delay(status, headers, body, attempt)
    assert 0 <= wait <= LONGEST * 1.2


@given(st.floats(0, 80), st.integers(0, 20))
def test_what_is_told_is_never_cut_short(seconds: float, attempt: int) -> None:
    wait = retry_delay(429, {"retry-after": f"{seconds:.3f}"}, None, attempt)
    assert round(seconds, 3) <= wait <= seconds * 1.1 + 0.06


@given(st.integers(0, 40))
def test_untold_waits_double_are_jittered_and_bounded(attempt: int) -> None:
    waits = {retry_delay(500, {}, None, attempt) for _ in range(20)}
    most = min(0.5 * 2**attempt, MOST)
    assert len(waits) > 10
    assert all(most / 2 <= wait <= most for wait in waits)


@given(JSON)
def test_the_words_of_any_body_are_one_short_line(body: Any) -> None:
    words = message_of(body)
    assert len(words) <= 300
    assert words == " ".join(words.split())
    assert words.isprintable()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"detail": "no", "status": 404}, "no"),
        ({"error": {"message": "bad key", "type": "x", "code": None}}, "bad key"),
        ({"error": "plain"}, "plain"),
        ({"detail": [{"loc": ["body", "input", "steps"], "msg": "too many"}]}, "input.steps: too many"),
        ({"errors": [{"message": "a"}, {"message": "b"}]}, "a; b"),
        ({"detail": {"nested": 1}, "title": "Words"}, "Words"),
        ({"title": "Only a title"}, "Only a title"),
        ({"message": "<html><body>502</body></html>"}, ""),
        ({}, ""),
        (None, ""),
        ("line\none", "line one"),
    ],
)
def test_the_words_of_known_forms(body: Any, words: str) -> None:
    assert message_of(body) == words


def test_json_that_is_too_deep_or_cut_off_is_none() -> None:
    assert read_json(b"[" * 200_000, "application/json") is None
    assert read_json(b'{"a": ', "application/json") is None
    assert read_json(b"\xff\xfe\x00", "application/json") is None
    assert read_json(b"1" * 100_000, "application/json") is None
    assert read_json(b"words", "text/plain") is None
    assert read_json('{"a": "é"}'.encode(), "") == {"a": "é"}


def test_a_page_is_known_as_one() -> None:
    assert Answer(502, {"content-type": "text/html; charset=utf-8"}, None, b"").is_page
    assert Answer(502, {}, None, b"\n <!DOCTYPE html><html>").is_page
    assert not Answer(502, {"content-type": "application/json"}, {}, b"{}").is_page
