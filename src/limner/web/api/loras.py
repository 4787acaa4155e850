"""Loras: versions of a subject's weights, their files, cards, and where they are published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import Query
from fastapi.responses import Response
from pydantic import Field

from limner.records import Erasure, HubEntry, Job, Lora, Publication
from limner.types import Health, SubjectKind, TensorNaming, Visibility
from limner.web.api import files
from limner.web.api.cursors import PartAsked
from limner.web.api.idempotency import Once
from limner.web.api.path_parameters import LoraName, OfSubject, api_router, started
from limner.web.api.shapes import Body, Page
from limner.web.files.responses import made_file
from limner.web.visit import StudioOf

__all__ = ["router"]

router = api_router("loras")


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


@dataclass(frozen=True, slots=True)
class Card:
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


class VisibilityWanted(Body):
    """Who may see the repos of a lora."""

    visibility: Visibility
    hub: str = Field(default="", max_length=100, description="Only there; everywhere if left out.")


@dataclass(frozen=True, slots=True)
class PublicationVisibility:
    """A repo, and the visibility that was read back from its hub."""

    hub: str
    repo: str
    visibility: Visibility


@dataclass(frozen=True, slots=True)
class Unpublished:
    """A repo that was deleted."""

    hub: str
    repo: str


@dataclass(frozen=True, slots=True)
class PublicationHealth:
    """One repo of a lora and its health."""

    hub: str
    repo: str
    health: Health


@router.get("/loras", operation_id="list_loras", summary="List the loras")
def loras(studio: StudioOf, part: PartAsked, subject: OfSubject = "") -> Page[Lora]:
    """Of one subject or of all, newest first."""
    return part.page(studio.loras.all(subject), lambda one: (one.created_at.isoformat(), one.name), newest_first=True)


@router.post("/loras", status_code=202, operation_id="import_lora", summary="Adopt a lora from elsewhere")
def adopt(response: Response, studio: StudioOf, once: Once, wanted: LoraImport) -> Job:
    """From the Hugging Face Hub or an https address; the job's result names the lora.

    The same weights again give the lora that is there.
    """
    options = wanted.model_dump(exclude={"source"}, exclude_unset=True)
    job = once(studio, lambda: studio.loras.fetch(wanted.source, from_here=False, **options))
    return started(response, job)


@router.get("/loras/{lora}", operation_id="get_lora", summary="See a lora")
def show(studio: StudioOf, lora: LoraName) -> Lora:
    """One version."""
    return studio.loras.get(lora)


@router.delete("/loras/{lora}", operation_id="delete_lora", summary="Delete a version and its weights")
def delete(
    studio: StudioOf,
    lora: LoraName,
    unpublish: Annotated[bool, Query(description="Also delete the repos it was published in.")] = False,
) -> Erasure:
    """Pictures made with it stay. A conflict if it is published, or a job uses it."""
    return studio.publications.delete_lora(lora, unpublish=unpublish)


@router.get(
    "/loras/{lora}/file",
    operation_id="download_lora",
    summary="Download a lora's weights",
    response_class=Response,
    responses=files.BYTES,
)
def file(
    studio: StudioOf,
    lora: LoraName,
    naming: Annotated[
        TensorNaming | Literal["original"] | None,
        Query(description="Its tensor naming; as it is if left out. ``original``: the LoKr or LoHa that it came as."),
    ] = None,
) -> Response:
    """A safetensors file, in the naming that the reader wants."""
    found = studio.loras.get(lora)
    name = f"{found.subject}-v{found.version}{f'-{naming}' if naming else ''}.safetensors"
    return made_file(
        lambda folder: studio.loras.export(found.name, folder / name, naming=naming or ""), "application/octet-stream"
    )


@router.get("/loras/{lora}/card", operation_id="get_card", summary="Read the model card")
def card(studio: StudioOf, lora: LoraName) -> Card:
    """As it would be published now."""
    return Card(text=studio.publications.card(lora), words=studio.loras.get(lora).card)


@router.put("/loras/{lora}/card", operation_id="set_card", summary="Write your own words for the model card")
def set_card(studio: StudioOf, lora: LoraName, wanted: CardWords) -> Card:
    """The next publication has them."""
    made = studio.publications.set_card(lora, wanted.words)
    return Card(text=studio.publications.card(made.name), words=made.card)


# --- publications -------------------------------------------------------------------------------------------------


@router.get("/publications", operation_id="list_publications", summary="List the publications", tags=["publications"])
def publications(studio: StudioOf, part: PartAsked, subject: OfSubject = "") -> Page[Publication]:
    """Of one subject or of all, newest first."""
    return part.page(
        studio.publications.all(subject),
        lambda one: (one.created_at.isoformat(), one.lora, one.hub, one.repo, one.revision),
        newest_first=True,
    )


@router.post(
    "/loras/{lora}/publications",
    status_code=202,
    operation_id="publish_lora",
    summary="Publish a lora",
    tags=["publications"],
)
def publish(response: Response, studio: StudioOf, once: Once, lora: LoraName, wanted: Publish) -> Job:
    """With its model card and samples; private unless told otherwise."""
    options = wanted.model_dump(exclude_unset=True)
    return started(response, once(studio, lambda: studio.publications.start(lora, **options)))


@router.get(
    "/loras/{lora}/publications",
    operation_id="check_publications",
    summary="See whether a lora's publications are ready for use",
    tags=["publications"],
)
def health(studio: StudioOf, lora: LoraName) -> list[PublicationHealth]:
    """Asks each hub."""
    found = studio.publications.status(lora)
    return [PublicationHealth(*one) for one in found]


@router.patch(
    "/loras/{lora}/publications",
    operation_id="set_visibility",
    summary="Open or close the repos of a lora",
    tags=["publications"],
)
def set_visibility(studio: StudioOf, lora: LoraName, wanted: VisibilityWanted) -> list[PublicationVisibility]:
    """Says of each the visibility that was read back."""
    found = studio.publications.set_visibility(lora, wanted.visibility, hub=wanted.hub)
    return [PublicationVisibility(hub=hub, repo=repo, visibility=seen) for hub, repo, seen in found]


@router.delete(
    "/loras/{lora}/publications",
    operation_id="unpublish_lora",
    summary="Delete the repos of a lora",
    tags=["publications"],
)
def unpublish(
    studio: StudioOf,
    lora: LoraName,
    hub: Annotated[str, Query(max_length=100, description="Only there; everywhere if left out.")] = "",
) -> list[Unpublished]:
    """With all versions in them."""
    return [Unpublished(hub=where, repo=repo) for where, repo in studio.publications.unpublish(lora, hub=hub)]


@router.get(
    "/hub-entries", operation_id="list_hub_entries", summary="List what is ours on a hub", tags=["publications"]
)
def hub_entries(
    studio: StudioOf, hub: Annotated[str, Query(max_length=100, description="The setting if left out.")] = ""
) -> list[HubEntry]:
    """From whatever machine it was published, with the loras here that it is."""
    return studio.publications.hub_listing(hub)
