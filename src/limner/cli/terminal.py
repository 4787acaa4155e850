"""Standard output and error as commands write to them: fit for a terminal, in any encoding, and never broken off.

``standard_streams`` puts them in place for one command, so that all that is written passes here: by ``print``, by the
console of ``output``, by loggers and by Python itself.
"""

from __future__ import annotations

import codecs
import errno
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

from limner.plain_text import fit_for_terminal

__all__ = ["Passage", "Stream", "let_go", "open_standard_files", "standard_streams", "trusted"]

SIGNS = str.maketrans(
    {"✓": "+", "✗": "x", "●": "*", "■": "#", "·": ".", "×": "x", "→": ">", "━": "-", "—": "-", "–": "-", "…": "~",
     "“": '"', "”": '"', "‘": "'", "’": "'", "\ufffd": "?"}
)  # fmt: skip
"""What our own signs look like where the encoding has none of them."""
ERRORS = "limner-signs"


def _replaced(failure: UnicodeError) -> tuple[str, int]:
    """A codec's error handler: our signs by their likeness, other characters by their escapes."""
    if not isinstance(failure, UnicodeEncodeError):
        raise failure
    lost = failure.object[failure.start : failure.end].translate(SIGNS)
    return lost.encode("ascii", "backslashreplace").decode(), failure.end


codecs.register_error(ERRORS, _replaced)


class Passage:
    """A text stream that takes everything: if nobody reads it any more, or it never was open, what comes is dropped.

    ``failure`` is what else went wrong, such as a full disk: the work goes on, and its end says so.
    """

    def __init__(self, inner: TextIO | None) -> None:
        self._inner = inner
        self._over = inner is None
        self.failure: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        if self._inner is None:
            raise AttributeError(name)
        return getattr(self._inner, name)

    @property
    def encoding(self) -> str:
        return getattr(self._inner, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Whether somebody sits there; a stream that was closed is no terminal."""
        try:
            return not self._over and cast(TextIO, self._inner).isatty()
        except ValueError:
            return False

    def write(self, text: str) -> int:
        """Write the text as it is; it must be fit for a terminal."""
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        if not self._over:
            with self._minded():
                cast(TextIO, self._inner).write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if not self._over:
            with self._minded():
                cast(TextIO, self._inner).flush()

    @contextmanager
    def _minded(self) -> Iterator[None]:
        try:
            yield
        except OSError as failure:
            self._over = True
            # Windows says EINVAL where a pipe's reader has gone.
            if failure.errno not in (errno.EPIPE, errno.EINVAL, errno.EBADF):
                self.failure = failure
        except ValueError:
            # It was closed.
            self._over = True


class Stream(Passage):
    """A standard stream: what is written becomes fit for a terminal on its way through ``passage``."""

    def __init__(self, inner: TextIO | None) -> None:
        super().__init__(inner)
        self.passage = Passage(inner)

    def write(self, text: str) -> int:
        return self.passage.write(fit_for_terminal(text) if isinstance(text, str) else text)

    def flush(self) -> None:
        self.passage.flush()

    def isatty(self) -> bool:
        return self.passage.isatty()


def trusted(stream: TextIO) -> TextIO:
    """The stream for one who makes its text fit itself, and adds colours and movements of its own."""
    return cast(TextIO, stream.passage) if isinstance(stream, Stream) else stream


@contextmanager
def standard_streams() -> Iterator[Stream]:
    """Put both streams in place; gives standard output. Their encodings stay, and replace what they do not have."""
    before = sys.stdout, sys.stderr
    out, err = Stream(before[0]), Stream(before[1])
    for stream in before:
        with suppress(AttributeError, ValueError, OSError):
            cast(Any, stream).reconfigure(errors=ERRORS)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, err)
    try:
        yield out
    finally:
        out.flush()
        err.flush()
        sys.stdout, sys.stderr = before


def open_standard_files() -> None:
    """Put the null device where a standard file was closed: the next file opened, a database, would take its place."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def let_go() -> None:
    """Before Python ends: what could not be written is not tried again by it, which would say so and spoil the code."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is None:
            continue
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
