"""What erasing takes of where a subject's loras are published: the repos, and the rows of all that they hold."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from limner.errors import LimnerError, NotFound
from limner.operations.home.erasure_scope import ErasureScope
from limner.operations.home.workspace import Workspace
from limner.operations.publications import repo_owners
from limner.store.models import LoraRow, PublicationRow

__all__ = ["SCOPE", "places", "unpublish"]


def _of(slug: str) -> Select[Any]:
    return select(PublicationRow.id).join(LoraRow, LoraRow.id == PublicationRow.lora).where(LoraRow.subject == slug)


SCOPE = ErasureScope(rows=(PublicationRow,), counted={"publications": _of})


def places(session: Session, slug: str) -> set[tuple[str, str]]:
    """Where the subject's loras are published, as (hub, repo)."""
    rows = select(PublicationRow.hub, PublicationRow.repo).join(LoraRow, LoraRow.id == PublicationRow.lora)
    return {(hub, repo) for hub, repo in session.execute(rows.where(LoraRow.subject == slug))}


def unpublish(workspace: Workspace, owner: str | None, published: Iterable[tuple[str, str]]) -> list[str]:
    """Delete repos, given as (hub, repo), with the rows of all that they hold; say which could not be."""
    left = []
    for hub, repo in sorted(published):
        if owner is not None and any(one.owner != owner for one in repo_owners.held(workspace, hub, repo)):
            left.append(f"{repo} on the hub '{hub}': it holds another user's loras too, so an admin has to delete it")
            continue
        try:
            # somebody was faster, or an earlier run was killed before its rows went
            with suppress(NotFound):
                workspace.back_ends.hub(hub).delete(repo)
        except LimnerError as failure:
            left.append(f"{repo} on the hub '{hub}': {failure}")
            continue
        with workspace.database.write() as session:
            session.execute(delete(PublicationRow).where(PublicationRow.hub == hub, PublicationRow.repo == repo))
    return left
