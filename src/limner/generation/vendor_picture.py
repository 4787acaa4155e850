"""What a vendor sent: is it a picture at all? One of another size than asked for is kept, because it is paid."""

from __future__ import annotations

from limner.errors import InputRefused, WorkFailed
from limner.generation.metadata.pixels import media_type, opened

__all__ = ["picture_type"]


def picture_type(data: bytes, *, sender: str, vendor: str, remedy: str) -> str:
    """The media type of a picture that a vendor sent; ``sender`` is its name in words. WorkFailed: it is none."""
    try:
        with opened(data):
            return media_type(data)
    except InputRefused as failure:
        raise WorkFailed(
            f"{sender} gave {len(data):,} bytes that are no picture: {failure.message}", remedy=remedy, thing=vendor
        ) from failure
