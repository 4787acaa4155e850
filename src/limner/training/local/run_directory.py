"""The run directory of a local training: which file means what, who holds the lock, and which process it was.

order.json        what is to be trained; written once, before the first start
dataset/          dataset.jsonl and pictures at bucket size, written by the pipeline
lock              held by the living shim, so "locked" means "somebody looks after this training"
trainer.json      the process that trains or trained: pid and identity, to find an orphan
cancel            the user wants it stopped; removed only by reopening
progress.jsonl    one line a step
log.txt           what the processes printed, tracebacks too
outcome.json      what the training process says of its end
exit.json         how the run ended, by the shim; while it is missing the run has not ended
checkpoints/, samples/, weights.safetensors
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.atomic_file import sync_folder, write_atomically
from limner.process_lock import is_held, take_lock
from limner.processes import program

__all__ = ["RunDirectory", "identity_of", "reap"]


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The files of one run."""

    folder: Path

    @property
    def order(self) -> Path:
        return self.folder / "order.json"

    @property
    def dataset(self) -> Path:
        return self.folder / "dataset"

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def trainer(self) -> Path:
        return self.folder / "trainer.json"

    @property
    def cancel(self) -> Path:
        return self.folder / "cancel"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.jsonl"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"

    @property
    def outcome(self) -> Path:
        return self.folder / "outcome.json"

    @property
    def exit(self) -> Path:
        return self.folder / "exit.json"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def samples(self) -> Path:
        return self.folder / "samples"

    @property
    def weights(self) -> Path:
        return self.folder / "weights.safetensors"

    def guarded(self) -> bool:
        """Whether a shim is alive here."""
        return is_held(self.lock)

    @contextmanager
    def guard(self, patience: float = 1.0) -> Iterator[bool]:
        """Hold the lock; gives False if another shim holds it. Patient, as a probe may hold it for an instant."""
        until = time.monotonic() + patience
        while (handle := take_lock(self.lock)) is None and time.monotonic() <= until:
            time.sleep(0.02)
        try:
            # Closed on exec, so that the trainer never inherits the lock.
            yield handle is not None
        finally:
            if handle is not None:
                os.close(handle)

    def read(self, path: Path) -> dict[str, Any]:
        """A JSON file of this run; empty if it is not there or not readable."""
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def write(self, path: Path, value: Mapping[str, Any]) -> None:
        """Write a JSON file of this run atomically."""
        write_atomically(path, json.dumps(value, indent=1, sort_keys=True).encode())

    def remove(self, *paths: Path) -> None:
        """Remove files durably, whether they are there or not."""
        for path in paths:
            path.unlink(missing_ok=True)
        sync_folder(self.folder)

    def progress_lines(self) -> list[dict[str, Any]]:
        """All whole lines of the progress file; a line torn by a crash is left out."""
        try:
            data = self.progress.read_bytes()
        except OSError:
            return []
        return _values(data)

    def newest_lines(self) -> list[dict[str, Any]]:
        """The lines at the end of the progress file, some three hundred; a line torn by a crash is left out."""
        try:
            with self.progress.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - 65536))
                tail = file.read()
        except OSError:
            return []
        return _values(tail)


def _values(data: bytes) -> list[dict[str, Any]]:
    values = []
    for line in data.split(b"\n"):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            values.append(value)
    return values


def identity_of(pid: int) -> str:
    """Which process a pid means: boot and start time; empty if there is none, or only its remains."""
    status = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # the name in brackets may hold spaces and brackets: what follows the last one is regular
            words = status.read_text().rpartition(")")[2].split()
        except OSError:
            return ""
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return "" if words[0] in "ZX" else f"{boot}/{words[19]}"
    look = [program("ps") or "/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    shown = subprocess.run(look, capture_output=True, text=True, check=False)
    stat, _, started = shown.stdout.strip().partition(" ")
    return "" if stat.startswith("Z") else started.strip()


def reap(run: RunDirectory, grace: float) -> bool:
    """End a trainer that lost its shim: SIGTERM, then after ``grace`` seconds SIGKILL, to its whole group.

    Only if it is the very process recorded (same boot, same start time). True if there was one. Call it with the
    lock held only.
    """
    record = run.read(run.trainer)
    pid, identity = record.get("pid"), record.get("identity")
    if not isinstance(pid, int) or not identity or identity_of(pid) != identity:
        return False
    end_group(pid, identity, grace)
    return True


def end_group(pid: int, identity: str, grace: float) -> None:
    """SIGTERM to a process if it lives, ``grace`` seconds for it to end, then SIGKILL to what is left of its group."""
    if identity_of(pid) == identity:
        _signal(os.kill, pid, signal.SIGTERM)
    until = time.monotonic() + grace
    while identity_of(pid) == identity and time.monotonic() < until:
        time.sleep(0.05)
    _signal(os.killpg, pid, signal.SIGKILL)
    while identity_of(pid) == identity:
        time.sleep(0.02)


def _signal(send: Any, pid: int, number: int) -> None:
    try:
        send(pid, number)
    except (ProcessLookupError, PermissionError):
        return
