"""The home's own key: what is signed or derived here is made with it, and it never leaves the home folder."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from hashlib import sha256
from hmac import new as hmac
from pathlib import Path

from limner.errors import StorageFailed

__all__ = ["derived", "home_key"]

KEY_BYTES = 32


def home_key(home: Path) -> bytes:
    """The 32 bytes in ``run/web.key``, made on first use; whoever is first wins, all others read that one."""
    path = home / "run" / "web.key"
    try:
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except OSError as failure:
        raise StorageFailed(
            f"The key {path} cannot be used: {failure.strerror}.",
            remedy="Check the folder's owner and permissions.",
            thing=str(path),
        ) from failure
    if len(key) != KEY_BYTES:
        raise StorageFailed(
            f"The key {path} is damaged.",
            remedy="Delete it: a new one is made. Everybody logs in again, and webhooks get new secrets.",
            thing=str(path),
        )
    return key


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as sink:
            sink.write(secrets.token_bytes(KEY_BYTES))
            sink.flush()
            os.fsync(sink.fileno())
        # A link, unlike a rename, fails where another process was first.
        with suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def derived(key: bytes, purpose: str, name: str) -> bytes:
    """32 bytes that only the key's holder can make, others for every purpose and name."""
    return hmac(key, b"\0".join((b"limner", purpose.encode(), name.encode())), sha256).digest()
