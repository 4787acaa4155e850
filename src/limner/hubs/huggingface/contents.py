"""What a repo on the Hugging Face Hub holds, what a package wants it to hold, and what is to be changed for that."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.hubs.hub import WEIGHTS_NAME, LoraPackage
from limner.hubs.soundness import file_sha256
from limner.types import Visibility

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, ModelInfo

__all__ = ["CARD_NAME", "OUR_TAG", "Held", "Repo", "Wanted", "changes", "is_foreign", "repo_of", "wanted_of"]

CARD_NAME = "README.md"
OUR_TAG = "limner"
"""The tag in the card's header by which Limner knows the repos that it made."""
_STARTERS = {".gitattributes", ".gitignore", CARD_NAME}


@dataclass(frozen=True, slots=True)
class Held:
    """A file on the hub: its size, git's name for it, and the SHA-256 of its content where it is a large file."""

    size: int
    oid: str
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Repo:
    """A repo at one revision, as the hub tells it."""

    id: str
    revision: str
    visibility: Visibility
    gated: bool
    disabled: bool
    files: Mapping[str, Held]
    card: Mapping[str, Any] = field(default_factory=dict)
    updated_at: str = ""

    @property
    def weights(self) -> list[str]:
        """The ``.safetensors`` files at the root."""
        return [path for path in self.files if path.endswith(".safetensors") and "/" not in path]

    @property
    def weights_digest(self) -> str:
        """The SHA-256 of our weights, "" where they are not there or the hub does not tell it."""
        held = self.files.get(WEIGHTS_NAME)
        return held.sha256 if held else ""


def repo_of(info: ModelInfo) -> Repo:
    """From huggingface_hub's record, asked for with ``files_metadata``."""
    files = {
        one.rfilename: Held(one.size or 0, one.blob_id or "", one.lfs.sha256 if one.lfs else "")
        for one in info.siblings or ()
    }
    return Repo(
        id=info.id,
        revision=info.sha or "",
        visibility=Visibility.PRIVATE if info.private else Visibility.PUBLIC,
        gated=bool(info.gated),
        disabled=bool(info.disabled),
        files=files,
        card=dict(info.card_data.to_dict()) if info.card_data else {},  # type: ignore[no-untyped-call]
        updated_at=info.last_modified.isoformat(timespec="seconds") if info.last_modified else "",
    )


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that is to be there: its bytes, or the file that holds them, and both names of its content."""

    source: bytes | Path
    sha256: str
    oid: str

    def is_held(self, held: Held | None) -> bool:
        """Whether the hub has this content already."""
        if held is None:
            return False
        return held.sha256 == self.sha256 if held.sha256 else held.oid == self.oid


def wanted_of(package: LoraPackage) -> dict[str, Wanted]:
    """All files of a package by their path in the repo."""
    card = package.card.encode()
    found = {
        CARD_NAME: Wanted(card, hashlib.sha256(card).hexdigest(), _git_oid(card)),
        # weights are always a large file on the hub, so git's name for them is not needed
        WEIGHTS_NAME: Wanted(package.weights, package.weights_digest, ""),
    }
    for name, path in sorted(package.samples.items()):
        found[f"images/{name}"] = Wanted(path, file_sha256(path), _git_oid(path.read_bytes()))
    return found


def changes(repo: Repo, wanted: Mapping[str, Wanted]) -> list[CommitOperationAdd | CommitOperationDelete]:
    """What a commit must do so that the repo holds the package and no other weights or samples; [] for nothing."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    stale = [path for path in repo.files if path not in wanted and (path in repo.weights or path.startswith("images/"))]
    return [
        *(
            CommitOperationAdd(path, one.source)
            for path, one in wanted.items()
            if not one.is_held(repo.files.get(path))
        ),
        *(CommitOperationDelete(path, is_folder=False) for path in stale),
    ]


def is_foreign(repo: Repo) -> bool:
    """Whether somebody put something there that Limner did not make: more than what a new repo starts with."""
    tags = repo.card.get("tags") or ()
    return not set(repo.files) <= _STARTERS and OUR_TAG not in tags


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324 (git's own naming)
