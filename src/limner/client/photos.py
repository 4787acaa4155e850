"""Subjects, photos and datasets by the API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from limner.client.connection import Connection
from limner.web.api.schemas.jobs import Job
from limner.web.api.schemas.photos import (
    CaptionAnswer,
    CaptionChanges,
    CaptionEdit,
    Captions,
    Dataset,
    Freeze,
    IntakeEntry,
    Photo,
    PhotoChange,
    PhotoHealth,
    ProposedCrop,
)
from limner.web.api.schemas.plain import Finding
from limner.web.api.schemas.subjects import (
    Consent,
    ConsentGiven,
    Erasure,
    NewSubject,
    Subject,
    SubjectCard,
    SubjectContents,
    SubjectProposal,
)

__all__ = ["Datasets", "Photos", "Subjects"]

Layout = Literal["replicate", "fal", "kohya", "ai-toolkit", "diffusers"]


class Subjects:
    """``client.subjects``: who or what is learned."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, *, limit: int | None = None) -> Iterator[Subject]:
        """All subjects, by slug."""
        return self._connection.pages(Subject, "/subjects", limit=limit)

    def cards(self, *, limit: int | None = None) -> Iterator[SubjectCard]:
        """Subjects at a glance, newest first."""
        return self._connection.pages(SubjectCard, "/subject-cards", limit=limit)

    def propose(self, name: str, *, kind: str = "person", slug: str = "", trigger: str = "") -> SubjectProposal:
        """The names that a new subject would have."""
        return self._connection.get(SubjectProposal, "/subject-names", name=name, kind=kind, slug=slug, trigger=trigger)

    def create(self, wanted: NewSubject) -> Subject:
        """Add a subject. Conflict: the slug is taken."""
        return self._connection.post(Subject, "/subjects", wanted)

    def add_demo(self) -> Job:
        """Add the demo's subject."""
        return self._connection.post(Job, "/demo")

    def get(self, subject: str) -> Subject:
        """One subject."""
        return self._connection.get(Subject, f"/subjects/{subject}")

    def contents(self, subject: str) -> SubjectContents:
        """What erasing it would take along."""
        return self._connection.get(SubjectContents, f"/subjects/{subject}/contents")

    def erase(self, subject: str, *, publications: bool = True) -> Erasure:
        """Erase it everywhere."""
        answer = self._connection.answer("DELETE", f"/subjects/{subject}", query={"publications": publications})
        return Erasure.model_validate_json(answer.content)

    def erasures(self, subject: str = "") -> list[Erasure]:
        """Those of the last thirty days, newest first."""
        return self._connection.value(list[Erasure], "/erasures", subject=subject)

    def consent(self, subject: str) -> Consent:
        """Who agreed to what. NotFound: none is on record."""
        return self._connection.get(Consent, f"/subjects/{subject}/consent")

    def record_consent(self, subject: str, given: ConsentGiven) -> Subject:
        """Put a consent on record."""
        return self._connection.change("PUT", Subject, f"/subjects/{subject}/consent", given)

    def withdraw_consent(self, subject: str) -> Subject:
        """Note that it was withdrawn."""
        answer = self._connection.answer("DELETE", f"/subjects/{subject}/consent")
        return Subject.model_validate_json(answer.content)


class Photos:
    """``client.photos``: the photos of a subject. They are sent by ``client.uploads``."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, subject: str, *, limit: int | None = None) -> Iterator[Photo]:
        """In the order of their arrival."""
        return self._connection.pages(Photo, f"/subjects/{subject}/photos", limit=limit)

    def intake(self, subject: str, *, job: str = "", limit: int | None = None) -> Iterator[IntakeEntry]:
        """What intake said of each file."""
        return self._connection.pages(IntakeEntry, f"/subjects/{subject}/intake", job=job, limit=limit)

    def health(self, subject: str, *, base: str = "", resolution: int | None = None) -> PhotoHealth:
        """How fit they are as a set."""
        return self._connection.get(PhotoHealth, f"/subjects/{subject}/photo-health", base=base, resolution=resolution)

    def crops(self, subject: str, photos: Sequence[str] = (), *, base: str = "") -> list[ProposedCrop]:
        """What freezing would take of each."""
        return self._connection.value(
            list[ProposedCrop], f"/subjects/{subject}/crops", photo=list(photos) or None, base=base
        )

    def get(self, subject: str, photo: str) -> Photo:
        """One photo."""
        return self._connection.get(Photo, f"/subjects/{subject}/photos/{photo}")

    def findings(self, subject: str, photo: str, *, base: str = "") -> list[Finding]:
        """What is noticed of it by itself."""
        return self._connection.value(list[Finding], f"/subjects/{subject}/photos/{photo}/findings", base=base)

    def tag(self, subject: str, photo: str) -> str:
        """Its ETag, for ``if_match``."""
        return self._connection.tag(f"/subjects/{subject}/photos/{photo}")

    def change(self, subject: str, photo: str, wanted: PhotoChange, *, if_match: str = "") -> Photo:
        """Change its caption or crop. ChangedMeanwhile: it has another ETag than ``if_match``."""
        path = f"/subjects/{subject}/photos/{photo}"
        return self._connection.change("PATCH", Photo, path, wanted, if_match=if_match)

    def set_captions(self, subject: str, captions: Mapping[str, str]) -> list[Photo]:
        """Several captions by digest, all or none."""
        wanted = Captions(captions=dict(captions))
        answer = self._connection.answer("PUT", f"/subjects/{subject}/captions", body=wanted)
        return [Photo.model_validate(one) for one in answer.json()]

    def edit_captions(self, subject: str, edit: CaptionEdit, *, what_if: bool = False) -> CaptionChanges:
        """Change many captions at once, or only say what would change."""
        return self._connection.post(CaptionChanges, f"/subjects/{subject}/caption-edits", edit, what_if=what_if)

    def caption_offers(self, subject: str) -> CaptionChanges:
        """Captions that came later and differ from those that are there."""
        return self._connection.get(CaptionChanges, f"/subjects/{subject}/caption-offers")

    def answer_offers(self, subject: str, answer: CaptionAnswer) -> CaptionChanges:
        """Take them, or keep those that are there."""
        return self._connection.post(CaptionChanges, f"/subjects/{subject}/caption-offers", answer)

    def undo_edit(self, subject: str) -> CaptionChanges:
        """Take the last change of many captions back."""
        answer = self._connection.answer("DELETE", f"/subjects/{subject}/caption-edits/last")
        return CaptionChanges.model_validate_json(answer.content)

    def remove(self, subject: str, photo: str) -> None:
        """Take it away; frozen datasets keep it."""
        self._connection.answer("DELETE", f"/subjects/{subject}/photos/{photo}")

    def file(self, subject: str, photo: str) -> bytes:
        """The photo as it is stored."""
        return self._connection.answer("GET", f"/subjects/{subject}/photos/{photo}/file").content

    def thumbnail(self, subject: str, photo: str, *, width: int = 320) -> bytes:
        """A WebP of it."""
        path = f"/subjects/{subject}/photos/{photo}/thumbnail"
        return self._connection.answer("GET", path, query={"width": width}).content


class Datasets:
    """``client.datasets``: photos, captions and crops, frozen."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, subject: str = "", *, limit: int | None = None) -> Iterator[Dataset]:
        """Newest first."""
        return self._connection.pages(Dataset, "/datasets", subject=subject, limit=limit)

    def freeze(self, wanted: Freeze) -> Dataset:
        """Freeze the photos as they are now."""
        return self._connection.post(Dataset, "/datasets", wanted)

    def get(self, dataset: str) -> Dataset:
        """By its digest, or the newest of a subject by its slug."""
        return self._connection.get(Dataset, f"/datasets/{dataset}")

    def package(self, dataset: str, layout: Layout) -> bytes:
        """A zip in a trainer's layout."""
        return self._connection.answer("GET", f"/datasets/{dataset}/package", query={"layout": layout}).content

    def crop_sheet(self, dataset: str) -> bytes:
        """All crops as one PNG."""
        return self._connection.answer("GET", f"/datasets/{dataset}/crop-sheet").content
