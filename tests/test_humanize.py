"""Times as people say them."""

from __future__ import annotations

import pytest

from limner.humanize import spoken


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_a_time_is_spoken(seconds: float, words: str) -> None:
    assert spoken(seconds) == words
