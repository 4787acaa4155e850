"""What a hub keeps: repos with commits, branches and tags, and contents by their digest, all in memory."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import yaml

__all__ = ["Commit", "HubFile", "HubRepo", "card_of", "git_oid", "lfs_pointer"]

_counter = itertools.count()
GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n*.bin filter=lfs diff=lfs merge=lfs -text\n"


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a commit: SHA-256 of its content, size, and whether git holds it or only a pointer to it."""

    sha256: str
    size: int
    oid: str
    lfs: bool


@dataclass(frozen=True, slots=True)
class Commit:
    """A revision: what was there after it. ``sha`` is 40 hexadecimal digits."""

    sha: str
    parent: str
    files: Mapping[str, HubFile]
    summary: str
    author: str
    date: datetime


@dataclass
class HubRepo:
    """One model repo; ``contents`` is shared by all repos of a hub."""

    id: str
    private: bool
    contents: dict[str, bytes]
    gated: str | bool = False
    disabled: bool = False
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def owner(self) -> str:
        return self.id.split("/")[0]

    @property
    def main(self) -> Commit:
        return self.commits[self.branches["main"]]

    @property
    def history(self) -> list[Commit]:
        """The commits of main, oldest first."""
        found, sha = [], self.branches.get("main", "")
        while sha:
            found.append(self.commits[sha])
            sha = self.commits[sha].parent
        return found[::-1]

    def find(self, revision: str) -> Commit | None:
        """The commit of a branch, a tag, or a digest of which seven or more digits are given."""
        sha = self.branches.get(revision) or self.tags.get(revision)
        if sha is None and len(revision) >= 7:
            sha = next((known for known in self.commits if known.startswith(revision)), None)
        return self.commits.get(sha or "")

    def keep(self, data: bytes, *, lfs: bool) -> HubFile:
        """Store content; give the file that names it."""
        digest = hashlib.sha256(data).hexdigest()
        self.contents[digest] = data
        return HubFile(digest, len(data), git_oid(lfs_pointer(digest, len(data)) if lfs else data), lfs)

    def commit(self, files: Mapping[str, HubFile], *, summary: str, author: str, branch: str = "main") -> Commit:
        """Add a revision to a branch."""
        parent = self.branches.get(branch, "")
        moment = datetime.now(UTC)
        listed = sorted((path, one.oid) for path, one in files.items())
        text = json.dumps([parent, listed, summary, author, str(moment), next(_counter)])
        made = Commit(hashlib.sha1(text.encode()).hexdigest(), parent, dict(files), summary, author, moment)  # noqa: S324
        self.commits[made.sha] = made
        self.branches[branch] = made.sha
        return made

    def content(self, one: HubFile) -> bytes:
        return self.contents[one.sha256]

    def card(self, commit: Commit) -> dict[str, Any]:
        """The YAML header of the commit's README.md."""
        readme = commit.files.get("README.md")
        return card_of(self.content(readme).decode("utf-8", "replace")) if readme else {}


def card_of(text: str) -> dict[str, Any]:
    """The header of a card, {} where there is none; ValueError where it cannot be read."""
    parts = text.split("---\n", 2)
    if len(parts) < 3 or parts[0].strip():
        return {}
    try:
        header = yaml.safe_load(parts[1])
    except yaml.YAMLError as failure:
        raise ValueError(str(failure)) from failure
    return header if isinstance(header, dict) else {}


def git_oid(data: bytes) -> str:
    """The name that git gives to a content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # noqa: S324


def lfs_pointer(sha256: str, size: int) -> bytes:
    """What git holds in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
