"""LoRAs on hubs: published, opened, closed, taken back, and their model cards."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from limner.errors import Conflict, InputRefused, NotFound
from limner.hubs.card import model_card
from limner.hubs.hub import Hub
from limner.operations.home import blob_erasure
from limner.operations.home.facet import Facet
from limner.operations.home.workspace import Workspace
from limner.operations.loras import queries as lora_queries
from limner.operations.publications import job as publication_job
from limner.operations.publications import repo_owners
from limner.operations.publications.queries import to_publication
from limner.records import (
    Erasure,
    HubEntry,
    Job,
    Lora,
    Publication,
)
from limner.store.models import JobRow, LoraOriginalRow, LoraRow, PublicationRow
from limner.types import UNDER_WAY, Health, Visibility

__all__ = ["Publications"]


LONGEST_CARD = 20_000


class Publications(Facet):
    """``studio.publications``: LoRAs on hubs: published, opened, closed, taken back, and their model cards."""

    def card(self, lora: str) -> str:
        """The model card as it would be published now: a YAML header and Markdown."""
        with self._workspace.database.read() as session:
            row = lora_queries.find_lora_row(session, lora)
            name, version = f"{row.subject}@v{row.version}", row.version
            place = session.scalars(
                select(PublicationRow).where(PublicationRow.lora == row.id).order_by(PublicationRow.id.desc()).limit(1)
            ).first()
            repo = place.repo if place is not None else repo_owners.usual_name(row.subject)
        facts, _ = publication_job.card_of(self._workspace, name, repo)
        return model_card(replace(facts, tag=f"v{version}"))

    def set_card(self, lora: str, words: str) -> Lora:
        """Keep your own words (Markdown) for a lora's model card; "" takes them away. The next publication has them."""
        if len(words) > LONGEST_CARD:
            raise InputRefused(
                f"The words for the card have {len(words):,} characters; {LONGEST_CARD:,} is the most.",
                remedy="Shorten them.",
                thing="card",
            )
        if any(char == "\0" or 0xD800 <= ord(char) <= 0xDFFF for char in words):
            raise InputRefused("The words for the card are no text.", remedy="Write them as plain text.", thing="card")
        with self._workspace.database.write() as session:
            row = lora_queries.find_lora_row(session, lora)
            row.card = words.replace("\r\n", "\n").strip()
            return lora_queries.lora_record(self._workspace, row)

    def delete_lora(self, lora: str, *, unpublish: bool = False) -> Erasure:
        """Delete one version and its weights; pictures made with it stay. Conflict: it is published, or a job uses it.

        ``unpublish`` also deletes the repos that it was published in, with all versions in them.
        """
        with self._workspace.database.read() as session:
            row = lora_queries.find_lora_row(session, lora)
            name, subject, digest = f"{row.subject}@v{row.version}", row.subject, row.digest
            kept = session.scalars(select(LoraOriginalRow.digest).where(LoraOriginalRow.lora == row.id)).all()
            places = session.scalars(select(PublicationRow).where(PublicationRow.lora == row.id)).all()
            where = sorted({(place.hub, place.repo) for place in places})
            _refuse_while_used(session, name)
        if where and not unpublish:
            named = ", ".join(f"{repo} on '{hub}'" for hub, repo in where)
            raise Conflict(
                f"{name} is published as {named}.",
                remedy=f"Take it away there too: limner loras delete {name} --unpublish",
                thing=name,
            )
        if where:
            self.unpublish(name)
        with self._workspace.database.write() as session:
            row = lora_queries.find_lora_row(session, name)
            _refuse_while_used(session, name)
            session.execute(delete(PublicationRow).where(PublicationRow.lora == row.id))
            session.delete(row)
        # Whether a blob is used is asked of everybody's rows: another user may have the same weights.
        with self._workspace.everyone.database.write() as session:
            unused = blob_erasure.let_go(session, [digest, *kept])
        blob_erasure.finish_later(self._workspace)
        return Erasure(subject, {"loras": 1, "publications": len(where), "blobs": len(unused)}, ())

    def start(
        self,
        lora: str,
        *,
        hub: str = "",
        repo: str = "",
        visibility: Visibility | str = Visibility.PRIVATE,
    ) -> Job:
        """Publish a lora with its model card and samples; private unless told otherwise."""
        return self._started(
            publication_job.submit(self._workspace, lora, hub=hub, repo=repo, visibility=Visibility(visibility))
        )

    def all(self, slug: str = "") -> list[Publication]:
        """Where loras were published, newest first."""
        query = (
            select(PublicationRow).join(LoraRow, LoraRow.id == PublicationRow.lora).order_by(PublicationRow.id.desc())
        )
        with self._workspace.database.read() as session:
            rows = session.scalars(query.where(LoraRow.subject == slug) if slug else query)
            return [to_publication(session, row) for row in rows]

    def status(self, lora: str) -> list[tuple[str, str, Health]]:
        """For each publication of a lora: hub, repo, and whether it is ready for use, and by whom."""
        with self._workspace.database.read() as session:
            row = lora_queries.find_lora_row(session, lora)
            places = session.scalars(select(PublicationRow).where(PublicationRow.lora == row.id)).all()
        return [
            (
                one.hub,
                one.repo,
                _hub(self._workspace, one.hub).status(one.repo, revision=one.revision, weights_digest=row.digest),
            )
            for one in places
        ]

    def hub_listing(self, hub: str = "") -> list[HubEntry]:
        """What Limner published on a hub, from whatever machine, with the loras here that it is."""
        name = hub or self._workspace.settings.hub
        found = _hub(self._workspace, name).listing()
        with self._workspace.database.read() as session:
            rows = session.scalars(select(LoraRow).order_by(LoraRow.subject, LoraRow.version)).all()
            known: dict[str, list[str]] = {}
            for row in rows:
                known.setdefault(row.digest, []).append(f"{row.subject}@v{row.version}")
        return [
            HubEntry(
                hub=name,
                repo=one.repo,
                revision=one.revision,
                visibility=one.visibility,
                weights_digest=one.weights_digest,
                tags=tuple(one.tags),
                updated_at=one.updated_at,
                loras=tuple(known.get(one.weights_digest, ())),
            )
            for one in found
            if self._workspace.owner is None or one.weights_digest in known
        ]

    def set_visibility(
        self, lora: str, visibility: Visibility | str, *, hub: str = ""
    ) -> list[tuple[str, str, Visibility]]:
        """Open or close the repos of a lora; for each: hub, repo, and the visibility read back afterwards.

        Conflict: of a person in one of them no consent is on record and it shall be public, or it is another
        user's too. NotFound: it was published nowhere.
        """

        subject, places = _places(self._workspace, lora, hub)
        _refuse_shared(self._workspace, subject, places)
        if Visibility(visibility) is Visibility.PUBLIC:
            for name, repo in places:
                publication_job.refuse_without_consents(self._workspace, name, repo)
        found = []
        for name, repo in places:
            seen = _hub(self._workspace, name).set_visibility(repo, Visibility(visibility))
            with self._workspace.database.write() as session:
                # the whole repo is open or closed, with all versions in it
                session.execute(
                    update(PublicationRow)
                    .where(PublicationRow.hub == name, PublicationRow.repo == repo)
                    .values(visibility=seen)
                )
            found.append((name, repo, seen))
        return found

    def unpublish(self, lora: str, *, hub: str = "") -> list[tuple[str, str]]:
        """Delete the repos that a lora was published in, with all versions in them; (hub, repo) of each."""
        subject, places = _places(self._workspace, lora, hub)
        _refuse_shared(self._workspace, subject, places)
        for name, repo in places:
            # somebody was faster, or an earlier run was killed before its row went
            with suppress(NotFound):
                _hub(self._workspace, name).delete(repo)
            with self._workspace.database.write() as session:
                session.execute(delete(PublicationRow).where(PublicationRow.hub == name, PublicationRow.repo == repo))
        return places


def _refuse_while_used(session: Session, name: str) -> None:
    open_jobs = session.scalars(select(JobRow).where(JobRow.state.in_(UNDER_WAY)))
    for job in open_jobs:
        for stage in job.request["stages"]:
            named = [*(use[0] for use in stage.get("loras", ())), stage.get("lora", "")]
            if name in named:
                raise Conflict(
                    f"The job {job.id} uses {name}.",
                    remedy=f"Wait for it, or cancel it first: limner jobs cancel {job.id}",
                    thing=name,
                )


def _refuse_shared(workspace: Workspace, subject: str, places: list[tuple[str, str]]) -> None:
    """Conflict: a repo holds another user's loras, as one may from before such were refused. Nobody's studio may."""
    if workspace.owner is None:
        return
    for hub, repo in places:
        repo_owners.refuse_anothers(workspace, subject, hub, repo)


def _hub(workspace: Workspace, name: str) -> Hub:
    return workspace.back_ends.hub(name)


def _places(workspace: Workspace, lora: str, hub: str) -> tuple[str, list[tuple[str, str]]]:
    """The lora's subject, and where it was published, as (hub, repo)."""
    with workspace.database.read() as session:
        row = lora_queries.find_lora_row(session, lora)
        name = f"{row.subject}@v{row.version}"
        rows: Sequence[PublicationRow] = session.scalars(
            select(PublicationRow).where(PublicationRow.lora == row.id)
        ).all()
        places = sorted({(one.hub, one.repo) for one in rows if hub in ("", one.hub)})
    if not places:
        where = f" on the hub '{hub}'" if hub else ""
        raise NotFound(f"{name} is not published{where}.", remedy=f"Publish it: limner publish {name}", thing=name)
    return row.subject, places
