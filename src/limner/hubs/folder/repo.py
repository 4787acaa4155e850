"""One repo of the folder hub on the disk: revisions that never change, one state file, one visible name.

    HUB/owner/name                            -> the revision that is main (a link, swapped in one step)
    HUB/.limner/repos/owner/name/state.json   main, tags, visibility and what each revision holds: the truth
    HUB/.limner/repos/owner/name/revisions/R  a whole folder, named after its content, moved here when complete

Whatever is written is first complete under another name and then renamed, so a crash leaves the old or the new. What a
crash left behind is swept by whoever holds the repo's lock next.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from limner.atomic_file import sync_folder
from limner.errors import Conflict, StorageFailed
from limner.types import Visibility

__all__ = ["FolderRepo", "Revision", "State", "copy_file", "revision_of", "storage_errors", "write_file"]

LOCK_SECONDS = 60.0
_MODES = {Visibility.PRIVATE: 0o700, Visibility.PUBLIC: 0o755}


@dataclass(frozen=True, slots=True)
class Revision:
    """What a revision holds: SHA-256 by path, and when and why it was made."""

    files: Mapping[str, str]
    message: str
    made_at: str


@dataclass(frozen=True, slots=True)
class State:
    """The truth about a repo. ``main`` is "" before the first revision is complete."""

    repo: str
    visibility: Visibility
    main: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    updated_at: str = ""


class FolderRepo:
    """The files of one repo. Everything that changes them is done inside ``locked()``."""

    def __init__(self, hub: Path, owner: str, name: str) -> None:
        self.hub, self.owner, self.name = hub, owner, name
        self.repo = f"{owner}/{name}"
        self.folder = hub / ".limner" / "repos" / owner / name
        self.visible = hub / owner / name
        self._state_file = self.folder / "state.json"
        self._trash = hub / ".limner" / "trash"
        self._mark = f"{owner}--{name}".casefold()

    @contextmanager
    def locked(self, *, tidy: bool = True) -> Iterator[None]:
        """Hold the repo's lock, which dies with the process; what an earlier crash left is put right first."""
        locks = self.hub / ".limner" / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(locks / f"{self._mark}.lock", timeout=LOCK_SECONDS):
                if tidy:
                    self.tidy()
                yield
        except Timeout as failure:
            raise Conflict(
                f"Another process is working on the repo {self.repo}.",
                remedy="Try again when it is done.",
                thing=self.repo,
            ) from failure

    def read(self) -> State | None:
        """The state, or None where there is no repo of exactly this name."""
        try:
            raw = json.loads(self._state_file.read_text(encoding="utf-8"))
            revisions = {name: Revision(**entry) for name, entry in raw.pop("revisions").items()}
            state = State(**{**raw, "visibility": Visibility(raw["visibility"]), "revisions": revisions})
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, TypeError, KeyError) as failure:
            raise StorageFailed(
                f"The state of the repo {self.repo} cannot be read: {self._state_file} is damaged.",
                remedy="Delete the repo and publish its loras again.",
                thing=self.repo,
            ) from failure
        # a file system that ignores case would give the repo of another spelling
        return state if state.repo == self.repo else None

    def write(self, state: State) -> None:
        """Record a state, then make the visible name and the access follow it."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        raw: dict[str, Any] = {name: getattr(state, name) for name in State.__dataclass_fields__}
        raw["revisions"] = {
            name: {key: getattr(revision, key) for key in Revision.__dataclass_fields__}
            for name, revision in state.revisions.items()
        }
        text = json.dumps(raw, indent=1, sort_keys=True, ensure_ascii=False)
        temporary = self.folder / f"incoming-{secrets.token_hex(6)}.json"
        try:
            write_file(temporary, text.encode() + b"\n", mode=0o644)
            temporary.replace(self._state_file)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(self.folder)
        self._follow(state)

    def revision_folder(self, revision: str) -> Path:
        return self.folder / "revisions" / revision

    def add_revision(self, revision: str, fill: Callable[[Path], None]) -> None:
        """Make the folder of a revision: ``fill`` writes into a folder that is not seen until it is complete."""
        incoming = self.folder / f"incoming-{secrets.token_hex(6)}"
        incoming.mkdir(mode=0o755)
        try:
            fill(incoming)
            for folder in (*(path for path in incoming.iterdir() if path.is_dir()), incoming):
                folder.chmod(0o755)
                sync_folder(folder)
            final = self.revision_folder(revision)
            final.parent.mkdir(exist_ok=True)
            final.parent.chmod(0o755)
            if final.exists():
                self._discard(final)
            incoming.rename(final)
            sync_folder(final.parent)
        except BaseException:
            shutil.rmtree(incoming, ignore_errors=True)
            raise

    def remove(self) -> None:
        """Remove the repo: its name first, then everything it holds and whatever a crash left of it."""
        self._sweep()
        if self.shown():
            self.visible.unlink()
        if self.folder.exists():
            self._discard(self.folder)
        for parent in (self.visible.parent, self.folder.parent):
            with suppress(OSError):  # other repos of this owner are there
                parent.rmdir()

    def visibility(self) -> Visibility:
        """Who can look in, read from the folder itself."""
        private = self.folder.stat().st_mode & 0o077 == 0
        return Visibility.PRIVATE if private else Visibility.PUBLIC

    def shown(self) -> bool:
        """Whether the visible name is a link of ours, and not something that a user put there."""
        links = self.visible.is_symlink()
        return links and self.visible.readlink().parent == Path(self._relative(self.folder / "revisions"))

    def visible_revision(self) -> str:
        """The revision that the visible name shows, "" where it shows none."""
        return self.visible.readlink().name if self.shown() and self.visible.exists() else ""

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.visible.parent)

    def leftovers(self) -> list[Path]:
        """What a crash left: half-written folders and files, and half-deleted repos of this name."""
        found = list(self.folder.glob("incoming-*")) if self.folder.is_dir() else []
        found += list(self._trash.glob(f"{self._mark}.*")) if self._trash.is_dir() else []
        found += list(self.visible.parent.glob(f".{self.name}.*.link")) if self.visible.parent.is_dir() else []
        return found

    def tidy(self) -> None:
        """Put right what a crash or a failure left, so that the disk says what the state says."""
        self._sweep()
        state = self.read() if self._state_file.exists() else None
        if state is None or not state.main:
            # a first publication that never was complete, or a deletion after its first step
            if state is not None or not self._state_file.exists():
                self.remove()
            return
        # the visible name first: it may still lead to a revision that goes now
        self._follow(state)
        for folder in (self.folder / "revisions").glob("*"):
            if folder.name not in state.revisions:
                self._discard(folder)

    def _sweep(self) -> None:
        for path in self.leftovers():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def _follow(self, state: State) -> None:
        self.folder.chmod(_MODES[state.visibility])
        target = self.revision_folder(state.main)
        if not state.main or not target.is_dir() or self.visible_revision() == state.main:
            return
        self.visible.parent.mkdir(parents=True, exist_ok=True)
        if state.visibility is Visibility.PUBLIC:
            # a worker writes what its owner alone can read; the repo itself says who may
            above = self.hub / ".limner"
            for folder in (above, above / "repos", self.folder.parent, self.visible.parent):
                folder.chmod(0o755)
        link = self.visible.parent / f".{self.name}.{secrets.token_hex(6)}.link"
        link.symlink_to(self._relative(target))
        link.replace(self.visible)
        sync_folder(self.visible.parent)

    def _discard(self, folder: Path) -> None:
        """Rename, then remove: a half-removed folder is never taken for a whole one."""
        self._trash.mkdir(parents=True, exist_ok=True, mode=0o700)
        doomed = self._trash / f"{self._mark}.{secrets.token_hex(6)}"
        folder.rename(doomed)
        shutil.rmtree(doomed)


def revision_of(files: Mapping[str, str]) -> str:
    """The name of a revision, 40 hexadecimal digits: the digest of its paths and their digests."""
    text = json.dumps(dict(sorted(files.items())), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def copy_file(source: Path, target: Path, *, mode: int = 0o444) -> str:
    """Copy a file to the disk, not only to the cache; give the SHA-256 of what was copied."""
    digest = hashlib.sha256()
    with source.open("rb") as reading, target.open("xb") as writing:
        while chunk := reading.read(1 << 22):
            digest.update(chunk)
            writing.write(chunk)
        writing.flush()
        os.fsync(writing.fileno())
    target.chmod(mode)
    return digest.hexdigest()


def write_file(path: Path, data: bytes, *, mode: int = 0o444) -> None:
    """Write a small file to the disk, not only to the cache."""
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)


@contextmanager
def storage_errors(what: str, thing: str) -> Iterator[None]:
    """Turn a failure of the disk into StorageFailed that says what could not be done."""
    try:
        yield
    except OSError as failure:
        raise StorageFailed(
            f"{what} failed: {failure.strerror or failure}.",
            remedy="Make room on the disk, check the rights of the hub's folder, and try again.",
            thing=thing,
        ) from failure
