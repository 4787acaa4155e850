"""What a repo in a bucket consists of: one small object says what main, the tags and the revisions are.

refs/<owner>/<name>.json                              the truth; only ever replaced as it was read
repos/<owner>/<name>/revisions/<40 digits>/...        the files of a revision, which never change
open/<owner>/<name>/<40 digits>/...                   copies that anyone may read, of a public repo
open/<40 digits>/<16 digits>/...                      a copy for one grant, at an address nobody can guess
grants/<40 digits>/<16 digits>.json                   what was granted, so that it can be closed
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from limner.errors import StorageFailed
from limner.hubs.hub import WEIGHTS_NAME
from limner.hubs.repo_names import is_revision
from limner.types import Visibility

__all__ = ["File", "Refs", "Revision", "open_folder", "parse_refs", "refs_key", "revision_folder"]


@dataclass(frozen=True, slots=True)
class File:
    """One file of a revision: the SHA-256 of its content, its size, and the bucket's tag for it as it was written."""

    sha256: str
    size: int
    e_tag: str


@dataclass(frozen=True, slots=True)
class Revision:
    """What a revision holds by path, and when and why it was made."""

    files: Mapping[str, File]
    message: str
    made_at: str


@dataclass(frozen=True, slots=True)
class Refs:
    """The truth about a repo. ``main`` is a revision; ``tags`` name others."""

    repo: str
    visibility: Visibility
    main: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    revisions: Mapping[str, Revision] = field(default_factory=dict)
    updated_at: str = ""

    def resolve(self, revision: str) -> str:
        """The revision that main, a tag or 40 digits mean; "" for none."""
        if revision == "main":
            return self.main
        found = revision if is_revision(revision) else self.tags.get(revision, "")
        return found if found in self.revisions else ""

    def weights_digest(self, revision: str) -> str:
        """The SHA-256 of a revision's weights."""
        return self.revisions[revision].files[WEIGHTS_NAME].sha256

    def same_as(self, other: Refs) -> bool:
        """Whether nothing but the time differs."""
        return replace(self, updated_at=other.updated_at) == other

    def to_bytes(self) -> bytes:
        """As it is kept in the bucket."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def parse_refs(data: bytes, repo: str) -> Refs:
    """Read what ``to_bytes`` wrote. StorageFailed: it is damaged."""
    try:
        raw = json.loads(data)
        revisions = {
            name: Revision({path: File(**file) for path, file in one.pop("files").items()}, **one)
            for name, one in raw.pop("revisions").items()
        }
        refs = Refs(**{**raw, "visibility": Visibility(raw["visibility"]), "revisions": revisions})
        for revision in (refs.main, *refs.tags.values()):
            refs.weights_digest(revision)
    except (ValueError, TypeError, KeyError, AttributeError) as failure:
        raise StorageFailed(
            f"The record of the repo {repo} in the bucket is damaged.",
            remedy="Delete the repo and publish its loras again.",
            thing=repo,
        ) from failure
    return refs


def refs_key(repo: str) -> str:
    return f"refs/{repo}.json"


def revision_folder(repo: str, revision: str) -> str:
    return f"repos/{repo}/revisions/{revision}"


def open_folder(repo: str, revision: str = "") -> str:
    return f"open/{repo}/{revision}" if revision else f"open/{repo}"
