"""What a run directory remembers of a training at Replicate, so that each step is done once."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from limner.atomic_file import write_atomically
from limner.errors import StorageFailed

__all__ = ["KeptFile", "RunState"]

NAME = "replicate.json"


@dataclass(slots=True)
class KeptFile:
    """A zip that was uploaded: where it is there, its digest, and until when (Unix seconds, 0: not said)."""

    id: str
    url: str
    sha256: str
    expires: float = 0.0


@dataclass(slots=True)
class RunState:
    """The steps done so far. Times are Unix seconds of this machine's clock.

    ``uploads`` counts those begun: if it is not the number of ``files``, the vendor may have one that is not known.
    ``attempt`` counts purchases, from 1; ``earlier`` are the trainings of the attempts before; ``sent`` is when this
    attempt's purchase was first tried. ``mark`` tells one state of the training from the next, ``marked`` is when it
    last changed. ``ended`` names the training whose cost is already in the ledger, ``stopped`` the one that the user
    stopped.
    """

    folder: Path
    model: str = ""
    version: str = ""
    account: str = ""
    destination: str = ""
    uploads: int = 0
    files: list[KeptFile] = field(default_factory=list)
    attempt: int = 1
    earlier: list[str] = field(default_factory=list)
    sent: float = 0.0
    training: str = ""
    mark: str = ""
    marked: float = 0.0
    ended: str = ""
    stopped: str = ""

    @classmethod
    def load(cls, folder: Path) -> RunState:
        """What was remembered; nothing if this is the first time, or if the disk lost it."""
        try:
            written: Any = json.loads((folder / NAME).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            written = {}
        known = {one.name for one in fields(cls)} - {"folder", "files"}
        state = cls(folder, **{name: value for name, value in written.items() if name in known})
        state.files = [KeptFile(**row) for row in written.get("files", [])]
        return state

    def save(self) -> None:
        """Write it down whole or not at all. StorageFailed: the disk is full."""
        content = {**asdict(self)}
        del content["folder"]
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self.folder / NAME, json.dumps(content, indent=1, sort_keys=True).encode())
        except OSError as failure:
            raise StorageFailed(
                f"The run directory {self.folder} cannot be written: {failure.strerror}.",
                remedy="Free some space, then let the job go on.",
                thing=str(self.folder),
            ) from failure

    def tag(self, order: str) -> str:
        """The tag of this attempt's purchase."""
        return order if self.attempt == 1 else f"{order}-{self.attempt}"

    @property
    def file(self) -> KeptFile | None:
        """The newest upload."""
        return self.files[-1] if self.files else None
