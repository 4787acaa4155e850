"""The demo's subject, with the photos that ship with Limner."""

from __future__ import annotations

import shutil
from importlib.resources import as_file, files

from sqlalchemy import func, select

from limner.errors import Conflict, InputRefused
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import queries as job_queries
from limner.operations.photos import job as intake
from limner.operations.subjects.actions import Subjects
from limner.records import Job
from limner.store.models import (
    IntakeRow,
    JobRow,
    SubjectRow,
)
from limner.types import UNDER_WAY, SubjectKind

__all__ = ["DEMO", "add_demo"]


DEMO = "zibbo"


def add_demo(workspace: Workspace) -> Job:
    """The demo's subject with the photos that ship with Limner; the same again gives the intake that there was."""
    try:
        Subjects(workspace).add(DEMO, name="Zibbo", kind=SubjectKind.CHARACTER, class_word="character", trigger="zibbo")
    except Conflict:
        with workspace.database.read() as session:
            newest = select(JobRow).where(JobRow.subject == DEMO, JobRow.kind == "intake")
            row = session.scalars(newest.order_by(JobRow.created_at.desc()).limit(1)).first()
            photos = session.scalar(select(func.count()).where(IntakeRow.subject == DEMO))
            if row is not None and (photos or row.state in UNDER_WAY):
                return job_queries.to_job(row)
            own = session.get(SubjectRow, DEMO)
        if own is None:
            # Another user's: slugs are one for all.
            raise InputRefused(
                f"The demo's subject '{DEMO}' is somebody else's here.",
                remedy="Start a subject of your own.",
                thing=DEMO,
            ) from None
    folder = workspace.home / "photos" / DEMO
    with as_file(files("limner.demo") / "character") as shipped:
        shutil.copytree(shipped, folder, ignore=shutil.ignore_patterns("*.md"), dirs_exist_ok=True)
    return intake.submit(workspace, DEMO, [folder])
