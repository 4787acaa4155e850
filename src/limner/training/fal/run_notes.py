"""What a training at fal must remember: a small file in its run directory, there whole or as it was before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limner.errors import Conflict, StorageFailed

__all__ = ["RunNotes"]

NAME = "fal.json"


class RunNotes:
    """The notes of one training's newest attempt. ``of`` reads or begins them; ``write`` changes them for good.

    photos_url, _name, _at    where the package was uploaded, under which name, and when (Unix seconds)
    sent_at                   set before a request is sent: from then on it may have been taken
    request_id, *_url, at     the request, once fal told its id, and when that was
    word, lines, changed_at   what fal last said, and when that changed
    silent_since, unfetched   since when fal does not answer; how often it failed to give the result
    cancel                    that it was to be stopped
    result, failed, ended_at  how it ended
    told                      that its end was told to whoever asked
    """

    def __init__(self, path: Path, values: dict[str, Any]) -> None:
        self._path = path
        self._values = values

    @classmethod
    def of(cls, folder: Path, order: str) -> RunNotes:
        """The notes in a run directory. Conflict: they belong to another training. StorageFailed."""
        path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"order": order, "attempt": 1}
        except (OSError, ValueError) as failure:
            raise _unusable(path, failure) from failure
        if not isinstance(values, dict) or values.get("order") != order:
            raise Conflict(
                f"The run directory {folder} belongs to another training.",
                remedy="Give each training a run directory of its own.",
                thing=order,
            )
        notes = cls(path, values)
        if not path.exists():
            notes.write()
        return notes

    def __getitem__(self, name: str) -> Any:
        return self._values.get(name)

    @property
    def attempt(self) -> int:
        """The how-manieth start this is; more than 1 after it was reopened."""
        return int(self._values["attempt"])

    def write(self, **changes: Any) -> None:
        """Change the notes; None takes one out."""
        changed = {**self._values, **changes}
        self._store({name: value for name, value in changed.items() if value is not None})

    def begin_again(self) -> None:
        """Begin another attempt: nothing of the last one is kept."""
        self._store({"order": self._values["order"], "attempt": self.attempt + 1})

    def _store(self, values: dict[str, Any]) -> None:
        from limner.atomic_file import write_atomically

        if values == self._values and self._path.exists():
            return
        try:
            write_atomically(self._path, json.dumps(values).encode())
        except OSError as failure:
            raise _unusable(self._path, failure) from failure
        self._values = values


def _unusable(path: Path, failure: Exception) -> StorageFailed:
    return StorageFailed(
        f"The notes of the training at {path} cannot be used: {failure}.",
        remedy="Free some space, or correct the folder's rights.",
        thing=str(path),
    )
