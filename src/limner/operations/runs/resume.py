"""Resuming a job that stopped, and what that would cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner.errors import Conflict
from limner.money.consent import check_consent
from limner.money.sums import total
from limner.operations.generations import queries as generation_queries
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle as jobs
from limner.operations.jobs import queries as job_queries
from limner.records import Job, WhatIf
from limner.store.models import JobRow
from limner.types import JobState

__all__ = ["resume"]


def resume(workspace: Workspace, job: str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
    """Do a cancelled or failed job again from the stage that it stopped in, as a new job.

    Conflict: it has not stopped, or another job does the same already. ConsentNeeded: a training may have to be
    started anew at a vendor's, and costs more than goes without asking. ``what_if``: only say what would be done.
    """
    # The stages load a good deal that watching does not need.
    from limner.operations.trainings import submission as trainings

    submitter = workspace.submitter
    found = job_queries.job(workspace, job)
    if found.state not in (JobState.CANCELLED, JobState.FAILED):
        raise Conflict(
            f"The job {found.id} is {found.state}.", remedy="Only a stopped job can be resumed.", thing=found.id
        )
    with workspace.database.read() as session:
        row = session.get_one(JobRow, found.id)
        stages = [{**stage, "reopen": True} for stage in row.request["stages"]]
        done = [entry for entry in row.stages if entry["state"] == JobState.DONE]
    if what_if:
        return _what_if(workspace, found.kind, stages[len(done) :])
    training = [stage for stage in stages[len(done) :] if stage["stage"] == "train"]
    cost = total(trainings.estimate(workspace, stage) for stage in training)
    check_consent(cost, workspace.settings.consent_above, yes=yes)
    with workspace.database.write() as session:
        jobs.refuse_twice(session, found.target, stages)
        stopped = session.get_one(JobRow, found.id)
        again = jobs.add_job(
            session,
            kind=found.kind,
            stages=stages,
            subject=found.subject,
            target=found.target,
            owner=stopped.owner,
        )
        jobs.note_resumed(stopped, again)
        # The stages that had ended keep their results and are not run again.
        again.stages = done
        waits = found.kind == "import" or any(trainings.waits(workspace, one) for one in training)
        submitter.submit(session, again.id, len(stages), waits=waits)
        return job_queries.to_job(again)


def _what_if(workspace: Workspace, kind: str, stages: Sequence[dict[str, Any]]) -> WhatIf:
    """What the stages that are left would do, and cost at most."""
    from limner.operations.generations import submission as generating
    from limner.operations.payments import preflight as asking
    from limner.operations.payments import purchases as paying
    from limner.operations.runs import submission as whole

    if kind != "generate":
        return asking.what_if(*whole.plans(workspace, stages))
    steps = []
    for stage in stages:
        done = paying.given_up(workspace, stage["generation"]) | generation_queries.drawn(
            workspace, stage["generation"]
        )
        steps.append(generating.plans(workspace, stage, done=done))
    return asking.what_if(*steps)
