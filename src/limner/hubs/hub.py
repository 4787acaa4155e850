"""What a hub must do: keep loras where others, or only their owner, can fetch them.

A lora is published as one folder in the layout of a Hugging Face model repo: ``README.md`` (the model card), exactly
one ``pytorch_lora_weights.safetensors`` at the root, and sample pictures under ``images/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from limner.errors import Conflict
from limner.types import BackEnd, Health, Visibility

__all__ = ["WEIGHTS_NAME", "Hub", "Listing", "LoraPackage", "Published", "TagTaken"]

WEIGHTS_NAME = "pytorch_lora_weights.safetensors"


class TagTaken(Conflict):
    """The tag names other content already; tags never move."""


@dataclass(frozen=True, slots=True)
class LoraPackage:
    """What is published: the weights, the card's text, and sample pictures by their name under ``images/``."""

    weights: Path
    weights_digest: str
    card: str
    samples: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """Where a package now is, at an exact revision. ``changed`` is False if that content was there already."""

    repo: str
    revision: str
    visibility: Visibility
    url: str
    changed: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """One repo of ours on a hub, at its newest revision."""

    repo: str
    revision: str
    visibility: Visibility
    weights_digest: str
    tags: tuple[str, ...]
    updated_at: str


@runtime_checkable
class Hub(Protocol):
    """A back end that publishes. Registered under the entry point group ``limner.hubs``.

    It is made once a process, and again when the settings change: one object serves all jobs, users and threads.
    """

    def describe(self) -> BackEnd:
        """Say what this hub is. No network, no heavy import."""
        ...

    def full_name(self, repo: str) -> str:
        """``owner/name`` of a repo given as ``name`` or ``owner/name``; may ask the hub who we are. NameRefused."""
        ...

    def address(self, repo: str, *, revision: str = "main") -> str:
        """Where the weights of a public repo can be fetched by anyone, pinned to the revision; "" if nobody can."""
        ...

    def publish(self, repo: str, package: LoraPackage, *, visibility: Visibility, tag: str, message: str) -> Published:
        """Publish as one atomic revision named ``tag``. The same content twice makes no second revision.

        TagTaken: the tag names other content.
        """
        ...

    def status(self, repo: str, *, revision: str = "main", weights_digest: str = "") -> Health:
        """Say whether the lora there is ready for use, and by whom."""
        ...

    def fetch(self, repo: str, into: Path, *, revision: str = "main") -> Path:
        """Copy the weights of a revision into a folder; give the file."""
        ...

    def listing(self) -> Sequence[Listing]:
        """All loras of ours on this hub."""
        ...

    def set_visibility(self, repo: str, visibility: Visibility) -> Visibility:
        """Change who can see a repo; give the visibility read back afterwards."""
        ...

    def delete(self, repo: str) -> None:
        """Remove a repo with all its revisions."""
        ...
