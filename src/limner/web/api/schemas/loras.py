"""Loras, their model cards and files, and where they are published."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from limner.types import SubjectKind, Visibility
from limner.web.api.schemas.plain import Answer, Body, Finding

__all__ = [
    "Card",
    "CardWords",
    "Health",
    "HubEntry",
    "Lora",
    "LoraImport",
    "Publication",
    "PublicationHealth",
    "PublicationVisibility",
    "Publish",
    "Unpublished",
    "VisibilityWanted",
]


class Lora(Answer):
    """One version of a subject's weights; ``name`` is how it is referred to. ``step``: picked from a checkpoint.

    ``findings`` are what was noticed when the file came. ``original``: it came as that kind of adapter (lokr, loha),
    and this is the nearest LoRA.
    """

    name: str
    subject: str
    version: int
    digest: str
    tensor_digest: str
    base: str
    naming: str
    rank: int
    alpha: float
    byte_size: int
    trigger: str
    training: str | None = None
    header: dict[str, str]
    step: int | None = None
    card: str = ""
    findings: list[Finding] = Field(default_factory=list)
    original: str = ""
    created_at: datetime


class LoraImport(Body):
    """A lora to be adopted from elsewhere as a subject's version; the subject is added if it is not there."""

    source: str = Field(
        min_length=3, max_length=2_000, description="owner/repo of the Hugging Face Hub, or an https address."
    )
    subject: str = Field(min_length=1, max_length=64)
    kind: SubjectKind = SubjectKind.STYLE
    trigger: str = Field(default="", max_length=60)
    name: str = Field(default="", max_length=200)
    base: str = Field(default="", max_length=100, description="The base's id, where the file does not tell.")
    rank: int = Field(default=0, ge=0, le=512, description="Of the LoRA nearest to a LoKr or LoHa; 0: as needed.")
    drop_additions: bool = Field(default=False, description="Leave out changes of biases and of whole weights.")


class Card(Answer):
    """A model card as it would be published now: a YAML header and Markdown. ``words`` are the owner's own."""

    text: str
    words: str


class CardWords(Body):
    """Your own words for a lora's model card, Markdown; "" takes them away."""

    words: str = Field(max_length=20_000)


class Publish(Body):
    """Where a lora is to be published, and who may see it there; private unless told otherwise."""

    hub: str = Field(default="", max_length=100, description="The setting if left out.")
    repo: str = Field(default="", max_length=200, description="owner/name or name; by subject if left out.")
    visibility: Visibility = Visibility.PRIVATE


class Publication(Answer):
    """A lora on a hub, at an exact revision."""

    lora: str
    hub: str
    repo: str
    revision: str
    visibility: Visibility
    url: str
    created_at: datetime


class VisibilityWanted(Body):
    """Who may see the repos of a lora."""

    visibility: Visibility
    hub: str = Field(default="", max_length=100, description="Only there; everywhere if left out.")


class PublicationVisibility(Answer):
    """A repo, and the visibility that was read back from its hub."""

    hub: str
    repo: str
    visibility: Visibility


class Unpublished(Answer):
    """A repo that was deleted."""

    hub: str
    repo: str


class Health(Answer):
    """Whether a published lora is ready for use, and by whom; ``problems`` say what stands in the way."""

    ready: bool
    visibility: Visibility
    usable_by: str
    revision: str
    digest_matches: bool
    problems: list[str] = Field(default_factory=list)


class PublicationHealth(Answer):
    """One repo of a lora and its health."""

    hub: str
    repo: str
    health: Health


class HubEntry(Answer):
    """A repo of ours on a hub at its newest revision; ``loras`` are those here that have its weights."""

    hub: str
    repo: str
    revision: str
    visibility: Visibility
    weights_digest: str
    tags: list[str]
    updated_at: str
    loras: list[str] = Field(default_factory=list)
