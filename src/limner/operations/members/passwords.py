"""Passwords: argon2id hashes, and a check that takes as long for a name that is not there."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from limner.errors import InputRefused

__all__ = ["LONGEST", "SHORTEST", "hashed", "is_right", "outdated"]

SHORTEST = 10
LONGEST = 1_000

# The library's own choice: RFC 9106's for little memory (argon2id, 64 MiB, three passes).
_hasher = PasswordHasher()


def _plain(password: str) -> str:
    # The same letters are typed as other bytes on other systems.
    return unicodedata.normalize("NFC", password)


def hashed(password: str) -> str:
    """The hash to keep. InputRefused: it is too short, or too long to be typed."""
    if not SHORTEST <= len(_plain(password)) <= LONGEST:
        raise InputRefused(
            f"A password has {SHORTEST} to {LONGEST} characters.",
            remedy="Take a longer one, such as four words that nobody else would put together.",
            thing="password",
        )
    return _hasher.hash(_plain(password))


@lru_cache(maxsize=1)
def _nobodys() -> str:
    return _hasher.hash("the password of nobody at all")


def is_right(password: str, kept: str | None) -> bool:
    """Whether the password has this hash; None, for who is not there, takes as long and is never right."""
    decoy = _nobodys()
    try:
        return _hasher.verify(kept or decoy, _plain(password[: LONGEST + 1])) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


def outdated(kept: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(kept)
