"""What an intake accepts at most, and how large it stores photos."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["IntakeLimits"]


@dataclass(frozen=True, slots=True)
class IntakeLimits:
    """Limits in pixels and bytes. All are looked at before anything is decoded or unpacked."""

    max_pixels: int = 200_000_000
    """A picture with more pixels is refused by its header."""
    max_file_bytes: int = 2_000_000_000
    """A larger file, on disk or in a zip, is refused."""
    max_zip_bytes: int = 20_000_000_000
    """The most that one zip may unpack to."""
    max_zip_entries: int = 100_000
    max_zip_ratio: int = 200
    """How many times larger than in the zip an entry may be; entries that are small anyway may be more."""
    smallest_side: int = 64
    """A picture whose shortest side is smaller is refused."""
    small_side: int = 512
    """One whose shortest side is smaller gets a warning, because every training would enlarge it."""
    stored_side: int = 1536
    """The shortest side is stored with at most this: the largest bucket's 1024 and half as much more for crops."""
    halved_side: int = 1152
    """A JPEG that its decoder can halve once or more to between this and ``stored_side`` is stored at that size."""
    stored_longest: int = 4096
    """The longest side is stored with at most this, whatever the shape."""

    def stored_size(self, width: int, height: int) -> tuple[int, int]:
        """The size at which a picture of that size is stored: never larger, and of the same shape."""
        scale = min(1.0, self.stored_side / min(width, height), self.stored_longest / max(width, height))
        return max(1, round(width * scale)), max(1, round(height * scale))
