"""What of ours is on the hubs: listing it, opening or closing it, taking it away again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import delete, select, update

from limner import plugins
from limner.errors import NotFound
from limner.hubs.hub import Hub
from limner.operations.home.workspace import Workspace
from limner.operations.loras import queries as lora_queries
from limner.operations.publications import job as publishing
from limner.operations.publications import repo_owners as repos
from limner.records import HubEntry
from limner.store.models import LoraRow, PublicationRow
from limner.types import Visibility

__all__ = ["listing", "set_visibility", "unpublish"]


def listing(workspace: Workspace, hub: str = "") -> list[HubEntry]:
    """The repos that Limner made on a hub (the default one if none is named), with the loras here that they hold."""
    name = hub or workspace.settings.hub
    found = _hub(workspace, name).listing()
    with workspace.database.read() as session:
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
        if workspace.owner is None or one.weights_digest in known
    ]


def set_visibility(
    workspace: Workspace, lora: str, visibility: Visibility, *, hub: str = ""
) -> list[tuple[str, str, Visibility]]:
    """Open or close every repo that a lora was published in; give (hub, repo, visibility read back) of each.

    Conflict: of a person in one of them no consent is on record and it shall be public, or it is another user's too.
    NotFound: it was published nowhere.
    """
    subject, places = _places(workspace, lora, hub)
    _refuse_shared(workspace, subject, places)
    if visibility is Visibility.PUBLIC:
        for name, repo in places:
            publishing.refuse_without_consents(workspace, name, repo)
    found = []
    for name, repo in places:
        seen = _hub(workspace, name).set_visibility(repo, visibility)
        with workspace.database.write() as session:
            # the whole repo is open or closed, with all versions in it
            session.execute(
                update(PublicationRow)
                .where(PublicationRow.hub == name, PublicationRow.repo == repo)
                .values(visibility=seen)
            )
        found.append((name, repo, seen))
    return found


def unpublish(workspace: Workspace, lora: str, *, hub: str = "") -> list[tuple[str, str]]:
    """Delete every repo that a lora was published in, with all versions in it; give (hub, repo) of each.

    What is gone already counts as done. Conflict: one is another user's too. NotFound: it was published nowhere.
    """
    subject, places = _places(workspace, lora, hub)
    _refuse_shared(workspace, subject, places)
    for name, repo in places:
        # somebody was faster, or an earlier run was killed before its row went
        with suppress(NotFound):
            _hub(workspace, name).delete(repo)
        with workspace.database.write() as session:
            session.execute(delete(PublicationRow).where(PublicationRow.hub == name, PublicationRow.repo == repo))
    return places


def _refuse_shared(workspace: Workspace, subject: str, places: list[tuple[str, str]]) -> None:
    """Conflict: a repo holds another user's loras, as one may from before such were refused. Nobody's studio may."""
    if workspace.owner is None:
        return
    for hub, repo in places:
        repos.refuse_anothers(workspace, subject, hub, repo)


def _hub(workspace: Workspace, name: str) -> Hub:
    hub: Hub = plugins.back_end("limner.hubs", name, settings=workspace.settings)
    return hub


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
