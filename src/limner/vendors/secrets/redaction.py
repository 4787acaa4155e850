"""Secrets never leave this process by mistake: they print as dots; texts, logs and tracebacks are cleaned of them."""

from __future__ import annotations

import base64
import json
import logging
import re
import sys
import threading
import traceback
from types import TracebackType
from typing import Any
from urllib.parse import quote, quote_plus

__all__ = ["RedactingFilter", "Secret", "guard_logging", "redact", "redacted_traceback"]

SHORTEST = 6
"""Shorter values are not looked for: they are no tokens, and occur in any text."""
LONG = 12
"""From this length on the base64 forms and the halves of a key are looked for too."""
MARK = "[secret]"

_guard = threading.Lock()
_known: dict[str, set[str]] = {}
_pattern: re.Pattern[str] | None = None
_stale = False


class Secret:
    """A token that cannot be printed, pickled or copied into a text by mistake."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value
        _remember(value)

    def reveal(self) -> str:
        """The token itself, for the header of a request and nothing else."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, wanted: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("a secret is not written anywhere")


def redact(text: str) -> str:
    """The text without any secret that this process has read: as it is, URL-encoded, in JSON, in base64."""
    pattern = _looked_for()
    return pattern.sub(MARK, text) if pattern is not None else text


def _remember(value: str) -> None:
    global _stale
    if len(value) >= SHORTEST and value not in _known:
        forms = _forms(value)
        with _guard:
            _known[value] = forms
            _stale = True


def _looked_for() -> re.Pattern[str] | None:
    """One pattern for all forms of all secrets, made anew when there is a new one; None: there are none."""
    global _pattern, _stale
    if _stale:
        with _guard:
            forms = {form for known in _known.values() for form in known}
            _pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
            _stale = False
    return _pattern


def _forms(value: str) -> set[str]:
    forms = {value, quote(value), quote(value, safe=""), quote_plus(value), json.dumps(value)[1:-1], repr(value)[1:-1]}
    if len(value) >= LONG:
        forms |= _base64_forms(value)
        # The secret half of a key "id:secret".
        forms |= {half for half in value.split(":")[1:] if len(half) >= LONG}
    return {form for form in forms if len(form) >= SHORTEST}


def _base64_forms(value: str) -> set[str]:
    """What base64 makes of the value wherever it stands in a longer text, such as ``user:token`` of Basic."""
    forms = set()
    raw = value.encode()
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + raw).decode().rstrip("=")
        # The first and last characters depend on the neighbours.
        core = coded[(0, 2, 3)[before] : len(coded) - (1 if (before + len(raw)) % 3 else 0)]
        forms |= {core, core.replace("+", "-").replace("/", "_")}
    return forms


def redacted_traceback(failure: BaseException) -> str:
    """The traceback of an exception with its causes, without secrets."""
    return redact("".join(traceback.format_exception(failure)))


class RedactingFilter(logging.Filter):
    """Cleans a record of secrets: message, arguments, the exception's text, the stack and whatever was added."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Always lets the record through, cleaned."""
        _clean(record)
        return True


def _clean(record: logging.LogRecord) -> None:
    if _looked_for() is None:
        return
    message = _message(record)
    if redact(message) != message or (record.args and redact(repr(record.args)) != repr(record.args)):
        record.msg, record.args = redact(message), ()
    if record.exc_info and record.exc_info[1] is not None:
        written = "".join(traceback.format_exception(record.exc_info[1])).rstrip("\n")
        if redact(written) != written:
            # What formats the exception itself would show it.
            record.exc_text, record.exc_info = redact(written), None
    record.exc_text = redact(record.exc_text) if record.exc_text else record.exc_text
    record.stack_info = redact(record.stack_info) if record.stack_info else record.stack_info
    for name, value in list(vars(record).items()):
        if name not in _ORDINARY and redact(shown := str(value)) != shown:
            setattr(record, name, redact(shown))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # A wrong format is reported by logging with the arguments in it.
        return f"{record.msg} {record.args}"


_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def guard_logging() -> None:
    """Clean all log records and uncaught exceptions of this process of secrets; calling it again does no harm.

    Call it first thing in a process that reads tokens. It holds for handlers that are added later too.
    """
    make = logging.getLogRecordFactory()
    if not getattr(make, "limner_guards", False):

        def guarded(*args: Any, **kwargs: Any) -> logging.LogRecord:
            record = make(*args, **kwargs)
            _clean(record)
            return record

        guarded.limner_guards = True  # type: ignore[attr-defined]
        logging.setLogRecordFactory(guarded)
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler is not None and not any(isinstance(known, RedactingFilter) for known in handler.filters):
            handler.addFilter(RedactingFilter())
    for name in ("httpx2", "httpcore2", "httpx", "httpcore"):
        # They log whole addresses, and an address can be a key.
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
    if sys.excepthook is not _uncaught:
        sys.excepthook = _uncaught
        threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], failure: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, failure, trace)
        return
    sys.stderr.write(redacted_traceback(failure))


def _uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not isinstance(args.exc_value, SystemExit):
        name = args.thread.name if args.thread else "a thread"
        sys.stderr.write(f"Exception in {name}:\n{redacted_traceback(args.exc_value)}")
