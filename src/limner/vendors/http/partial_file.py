"""A file of which a part is here, and whether that part can be gone on with."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

__all__ = ["PartialFile"]


class PartialFile:
    """A file that is being fetched, with what its server calls it: only what is surely the same is gone on with.

    ``kept`` writes that beside it, for the next process.
    """

    def __init__(self, path: Path, url: str, *, kept: bool) -> None:
        self.path, self.etag, self.size = path, "", 0
        self._of = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()
        self._mark = path.with_name(f"{path.name}.mark") if kept else None
        if self._mark is not None and self._mark.exists():
            of, etag, size = json.loads(self._mark.read_text(encoding="utf-8"))
            if of == self._of:
                self.etag, self.size = etag, size

    @property
    def have(self) -> int:
        """How many bytes of it can be gone on from."""
        return self.path.stat().st_size if self.etag and self.path.exists() else 0

    def begin(self, etag: str, size: int) -> None:
        """Begin it anew. A weak mark is none: it stays where the bytes do not."""
        self.drop()
        self.etag, self.size = "" if etag.startswith("W/") else etag, size
        if self._mark is not None:
            draft = self._mark.with_suffix(".draft")
            draft.write_text(json.dumps([self._of, self.etag, size]), encoding="utf-8")
            draft.replace(self._mark)

    def drop(self) -> None:
        """Leave nothing of it."""
        self.etag, self.size = "", 0
        self.path.unlink(missing_ok=True)
        if self._mark is not None:
            self._mark.unlink(missing_ok=True)
