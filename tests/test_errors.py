"""The errors form one tree, and survive the trip through a process or a database row."""

from __future__ import annotations

import pickle

import pytest

from limner import errors
from limner.errors import LimnerError

TREE = [getattr(errors, name) for name in errors.__all__]


def test_every_error_has_a_code_of_its_own_and_every_kind_an_exit_code() -> None:
    codes = [error.code for error in TREE]
    assert len(set(codes)) == len(codes)
    kinds = [error for error in TREE if LimnerError in error.__bases__ or error is LimnerError]
    assert len({error.exit_code for error in kinds}) == len(kinds)
    for error in TREE:
        assert issubclass(error, LimnerError)
        assert 1 <= error.exit_code < 128
        assert 400 <= error.status < 600


@pytest.mark.parametrize("error", TREE)
def test_an_error_keeps_what_it_says_when_pickled(error: type[LimnerError]) -> None:
    failure = error("It broke.", remedy="Mend it.", thing="x")
    back = pickle.loads(pickle.dumps(failure))
    assert type(back) is error
    assert back.as_problem() == failure.as_problem()
    assert str(back) == "It broke. Mend it."


def test_a_problem_is_what_rfc_9457_asks_for() -> None:
    assert errors.NotFound("There is no x.", remedy="Look.", thing="x").as_problem() == {
        "type": "urn:limner:not-found",
        "code": "not-found",
        "title": "not found",
        "status": 404,
        "detail": "There is no x.",
        "remedy": "Look.",
        "thing": "x",
    }
