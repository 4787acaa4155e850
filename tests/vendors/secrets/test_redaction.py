"""Secrets in texts, logs and tracebacks: none gets out in any form."""

from __future__ import annotations

import base64
import copy
import io
import json
import logging
import pickle
import subprocess
import sys
import threading
from urllib.parse import quote, quote_plus, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.vendors.secrets.redaction import RedactingFilter, Secret, guard_logging, redact, redacted_traceback

TOKEN = "r8_tok+en/with=odd&chars%0123456789"
KEY = "1234abcd-key-id:0f9e8d7c6b5a4f3e2d1c"


@pytest.fixture(autouse=True)
def known() -> None:
    Secret(TOKEN)
    Secret(KEY)


def test_a_secret_cannot_be_printed_or_written() -> None:
    secret = Secret(TOKEN)
    assert TOKEN not in f"{secret} {secret!r} {secret:>50} {[secret]} {{'a': secret}}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        copy.deepcopy(secret)
    assert secret == Secret(TOKEN)
    assert secret != Secret(KEY)
    assert secret.reveal() == TOKEN


@pytest.mark.parametrize("value", [TOKEN, KEY])
def test_every_form_is_found(value: str) -> None:
    shown = [
        value,
        f"Bearer {value}",
        quote(value),
        quote(value, safe=""),
        quote_plus(value),
        urlencode({"token": value}),
        json.dumps({"token": value}),
        repr({"token": value}),
        repr(f"Bearer {value}".encode()),
        f"https://user:{value}@host/",
    ]
    for text in shown:
        assert value not in redact(text)
        assert "[secret]" in redact(text)
    assert KEY.split(":")[1] not in redact("secret part " + KEY.split(":")[1])


@given(st.text("abcdef:@", max_size=9), st.text("abcdef:", max_size=9))
def test_basic_credentials_are_found_whatever_stands_around(before: str, after: str) -> None:
    text = base64.b64encode(f"{before}{TOKEN}{after}".encode()).decode()
    cleaned = redact(f"Authorization: Basic {text}")
    assert "[secret]" in cleaned
    left = cleaned.removeprefix("Authorization: Basic ").replace("[secret]", " ")
    assert all(len(part) < len(text) / 2 for part in left.split())


@given(st.text(max_size=200))
def test_a_text_without_secrets_is_left_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_short_values_are_not_looked_for() -> None:
    Secret("token")
    assert redact("a token") == "a token"


def _leaky() -> None:
    try:
        raise ValueError(f"cannot use {TOKEN}")
    except ValueError as failure:
        raise RuntimeError("again") from failure


def test_tracebacks_are_cleaned_with_their_causes() -> None:
    try:
        _leaky()
    except RuntimeError as failure:
        text = redacted_traceback(failure)
    assert TOKEN not in text
    assert "cannot use [secret]" in text
    assert "RuntimeError: again" in text


def test_the_filter_cleans_all_of_a_record() -> None:
    sink = io.StringIO()
    handler = logging.StreamHandler(sink)
    handler.addFilter(RedactingFilter())
    handler.setFormatter(logging.Formatter("%(message)s %(token)s %(args)s"))
    logger = logging.Logger("leaky")
    logger.addHandler(handler)
    try:
        _leaky()
    except RuntimeError:
        logger.exception("with %s and %r", TOKEN, {"k": KEY}, extra={"token": TOKEN}, stack_info=True)
    logger.warning(f"plain {TOKEN}", extra={"token": "none"})
    logger.error("%d", 7, extra={"token": Secret(TOKEN)})
    text = sink.getvalue()
    assert TOKEN not in text
    assert KEY not in text
    assert "again" in text
    assert text.count("[secret]") >= 4


def test_a_message_with_a_wrong_format_leaks_nothing() -> None:
    record = logging.makeLogRecord({"msg": "%d of it", "args": (TOKEN,)})
    RedactingFilter().filter(record)
    assert TOKEN not in str(vars(record))


GUARDED = """
import logging, sys, threading
from limner.vendors.secrets.redaction import Secret, guard_logging
guard_logging(); guard_logging()
logging.basicConfig(level=logging.DEBUG)
token = Secret(sys.argv[1]).reveal()
logging.getLogger("some.library").info("using %s", token)
late = logging.StreamHandler(); logging.getLogger("late").addHandler(late)
logging.getLogger("late").error("again", exc_info=ValueError(token))
logging.getLogger("httpx2").info("GET https://host/key-in-path")
thread = threading.Thread(target=lambda: 1 / len(token[:0]) if token else 0); thread.start(); thread.join()
thread = threading.Thread(target=exec, args=("raise ValueError(token)", {"token": token}))
thread.start(); thread.join()
raise RuntimeError("with " + token)
"""


def test_a_guarded_process_lets_nothing_out() -> None:
    child = subprocess.run([sys.executable, "-c", GUARDED, TOKEN], capture_output=True, text=True)
    assert child.returncode == 1
    assert TOKEN not in child.stdout + child.stderr
    assert "using [secret]" in child.stderr
    assert "RuntimeError: with [secret]" in child.stderr
    assert "ZeroDivisionError" in child.stderr
    assert "ValueError: [secret]" in child.stderr
    assert "key-in-path" not in child.stderr


def test_secrets_may_be_read_in_many_threads_at_once() -> None:
    values = [f"thread-{number}-secret-value" for number in range(40)]
    threads = [threading.Thread(target=Secret, args=(value,)) for value in values]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert redact(" ".join(values)) == " ".join(["[secret]"] * 40)


def test_guarding_changes_nothing_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    before = logging.getLogRecordFactory()
    hooks = sys.excepthook, threading.excepthook
    try:
        guard_logging()
        logging.getLogger("x").warning("%s of %d", "one", 2)
        assert caplog.messages == ["one of 2"]
        assert caplog.records[0].args == ("one", 2)
    finally:
        logging.setLogRecordFactory(before)
        sys.excepthook, threading.excepthook = hooks
