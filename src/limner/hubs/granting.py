"""What a hub can do besides publishing: open a private lora for a while, at an address that nobody can guess."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["Granting"]


@runtime_checkable
class Granting(Protocol):
    """A hub that can hand a private lora to a vendor that fetches without credentials."""

    def grant(self, repo: str, revision: str, key: str) -> str:
        """Open the weights of a revision; give the address, which ends in ``.safetensors``.

        The same key gives the same address, so that a run after a crash finds what it opened. NotFound: there is no
        such revision; NotReady: the hub is not set up to be read by anyone.
        """
        ...

    def revoke(self, key: str) -> None:
        """Close whatever was opened under a key. Harmless if nothing was, or if it is closed already."""
        ...
