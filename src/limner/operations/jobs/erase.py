"""What erasing takes of jobs: those of a subject or that draw it; what others' runs and kept answers tell of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Select, delete, or_, select
from sqlalchemy.orm import Session

from limner.operations.home.blob_erasure import Kind, portions
from limner.operations.home.erasure_scope import ErasureScope
from limner.operations.jobs import idempotency
from limner.store.models import GenerationSubjectRow, JobRow
from limner.store.web_models import AnswerRow, EventRow

__all__ = ["SCOPE", "shows"]

MADE = re.compile(rb"(?:job|training|generation)_[0-9a-f]{16}")
"""The ids of what is made of a subject."""


def _of(slug: str) -> Select[str]:
    return select(JobRow.id).where(JobRow.subject == slug)


def _own(slug: str) -> Select[str]:
    shown = select(GenerationSubjectRow.generation).where(GenerationSubjectRow.subject == slug)
    return select(JobRow.id).where(or_(JobRow.subject == slug, JobRow.target.in_(shown)))


def shows(stage: Mapping[str, Any], slug: str) -> bool:
    """Whether a stage that draws was asked for a lora of the subject."""
    return any(str(use[0]).partition("@")[0] == slug for use in stage.get("loras", ()))


def _forget(session: Session, slug: str, ids: frozenset[str]) -> None:
    _blank_stages(session, slug, ids)
    _forget_answers(session, slug, ids)
    for some in portions(sorted(ids)):
        session.execute(delete(JobRow).where(JobRow.id.in_(some)))


def _blank_stages(session: Session, slug: str, ids: frozenset[str]) -> None:
    """Of other subjects' whole runs, blank the stages that drew this one: what was asked for, and what came of it."""
    runs = select(JobRow).where(JobRow.kind == "run", JobRow.subject.is_distinct_from(slug))
    for row in session.scalars(runs):
        asked = row.request["stages"]
        gone = {at for at, one in enumerate(asked) if one.get("generation") in ids or shows(one, slug)}
        if not gone:
            continue
        row.request = {"stages": [{"stage": one["stage"]} if at in gone else one for at, one in enumerate(asked)]}
        row.stages = [{**one, "result": {}} if at in gone else one for at, one in enumerate(row.stages)]
        row.result = {key: value for one in row.stages for key, value in (one.get("result") or {}).items()}
        row.progress = {}
        if row.error and len(row.stages) - 1 in gone:
            row.error = {**row.error, "message": "What it drew was erased.", "remedy": "", "thing": ""}


def _forget_answers(session: Session, slug: str, ids: frozenset[str]) -> None:
    """Delete the answers kept for repeated requests that tell of a subject, or of what was made of it by its id."""
    named = re.escape(slug.encode())
    tells = re.compile(rb'"(?:slug|subject)": ?"%b"|"%b@v|/subjects/%b(?![a-z0-9_-])' % (named, named, named))
    # The row of a wish names a job and nothing else, and sees to it that nothing is bought twice.
    kept = select(AnswerRow.owner, AnswerRow.key, AnswerRow.route, AnswerRow.headers, AnswerRow.body)
    gone = []
    for owner, key, route, headers, body in session.execute(kept.where(AnswerRow.route != idempotency.ROUTE)):
        told = b" ".join([route.encode(), str(headers.get("location", "")).encode(), body])
        if tells.search(told) or not ids.isdisjoint(found.decode() for found in MADE.findall(told)):
            gone.append((owner, key))
    for owner, key in gone:
        session.execute(delete(AnswerRow).where(AnswerRow.owner == owner, AnswerRow.key == key))


SCOPE = ErasureScope(
    rows=(JobRow, EventRow, AnswerRow), counted={"jobs": _of}, on_disk=(Kind.FOLDER, _own), forget=_forget
)
