"""docs/guide/errors.md has every error with its codes and its meaning, as limner/errors.py has them."""

from __future__ import annotations

import inspect

from limner import errors

from .markdown import DOCS, table

PAGE = DOCS / "guide" / "errors.md"


def test_every_error_stands_in_the_table_as_it_is() -> None:
    tree = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.LimnerError)]
    expected = [
        [f"`{kind.code}`", f"`{kind.__name__}`", str(kind.exit_code), str(kind.status), inspect.getdoc(kind)]
        for kind in tree
        if kind is not errors.LimnerError
    ]
    assert table(PAGE, "code") == expected


def test_the_other_exit_codes_are_told() -> None:
    from limner.cli.main import INTERRUPTED

    others = {row[0]: row[1] for row in table(PAGE, "exit code")}
    assert others.keys() == {"0", str(errors.LimnerError.exit_code), str(INTERRUPTED)}
