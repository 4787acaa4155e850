"""When to try again: what the vendor says, else a jittered wait that doubles."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from limner.vendors.http.rate_headers import read_told

__all__ = ["retry_delay"]

FIRST = 0.5
MOST = 20.0


def retry_delay(status: int, headers: Mapping[str, str], body: Any, attempt: int) -> float:
    """Seconds to wait before attempt ``attempt + 1`` (the first is 0), never negative; ``headers`` in lower case.

    What the vendor told is never cut short: a little is added, so that many clients do not come back as one.
    """
    told = read_told(headers, body, refused=status in (429, 503)).wait
    own = min(FIRST * 2.0 ** min(max(attempt, 0), 16), MOST) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
    if told is None:
        return own
    return told + min(own, 0.1 * told + 0.05)
