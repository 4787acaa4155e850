"""Whose loras a repo on a hub holds: it is opened, closed and deleted whole, for all of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from limner.errors import Conflict
from limner.operations.home.workspace import Workspace
from limner.store.models import LoraRow, PublicationRow, SubjectRow

__all__ = ["Held", "held", "is_known", "refuse_anothers", "usual_name"]

USUAL_END = "-lora"


@dataclass(frozen=True, slots=True)
class Held:
    """A lora that was published in a repo, as ``slug@v1``, with its subject and whose that is."""

    lora: str
    subject: str
    owner: str | None


def usual_name(subject: str) -> str:
    """What a subject's repo is called where nobody says."""
    return f"{subject}{USUAL_END}"


def held(workspace: Workspace, hub: str, repo: str) -> list[Held]:
    """The loras that a repo (``owner/name``) holds, whoever owns them, by their names."""
    rows = (
        select(LoraRow.subject, LoraRow.version, SubjectRow.owner)
        .join(PublicationRow, PublicationRow.lora == LoraRow.id)
        .join(SubjectRow, SubjectRow.slug == LoraRow.subject)
        .where(PublicationRow.hub == hub, PublicationRow.repo == repo)
        .distinct()
        .order_by(LoraRow.subject, LoraRow.version)
    )
    with workspace.everyone.database.read() as session:
        return [Held(f"{slug}@v{version}", slug, owner) for slug, version, owner in session.execute(rows)]


def is_known(workspace: Workspace, hub: str, repo: str) -> bool:
    """Whether anybody published in a repo of this name, in whatever namespace; asks no hub."""
    end = f"/{repo.rpartition('/')[2]}"
    rows = select(PublicationRow.id).where(
        PublicationRow.hub == hub, PublicationRow.repo.endswith(end, autoescape=True)
    )
    with workspace.everyone.database.read() as session:
        return session.scalar(rows.limit(1)) is not None


def refuse_anothers(workspace: Workspace, subject: str, hub: str, repo: str) -> None:
    """Conflict: the repo holds what belongs to another user than the subject does.

    Nor does anybody get to a repo first that is called as another user's subject would call its own.
    """
    inside = held(workspace, hub, repo)
    slug = repo.rpartition("/")[2].removesuffix(USUAL_END)
    with workspace.everyone.database.read() as session:
        owner = session.get_one(SubjectRow, subject).owner
        namesake = session.get(SubjectRow, slug) if repo.endswith(usual_name(slug)) and not inside else None
    owners = {one.owner for one in inside} | ({namesake.owner} if namesake is not None else set())
    if owners - {owner}:
        raise Conflict(f"The repo '{repo}' is taken.", remedy="Choose another name for it: --repo.", thing=repo)
