"""Resuming a job that stopped, and what that would cost."""

from __future__ import annotations

from collections.abc import Sequence

from limner.errors import Conflict
from limner.money.consent import check_consent
from limner.money.sums import total
from limner.operations.generations import queries as generation_queries
from limner.operations.generations.request import GenerateRequest
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import lifecycle
from limner.operations.jobs import queries as job_queries
from limner.operations.trainings.request import TrainRequest
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
        done = sum(entry["state"] == JobState.DONE for entry in row.stages)
        left = row.request["stages"][done:]
    training = [TrainRequest.from_json(one) for one in left if one["stage"] == "train"]
    if what_if:
        pictures = [GenerateRequest.from_json(one) for one in left if one["stage"] == "generate"]
        return _what_if(workspace, found.kind, [*training, *pictures])
    cost = total(trainings.estimate(workspace, one) for one in training)
    check_consent(cost, workspace.settings.consent_above, yes=yes)
    with workspace.database.write() as session:
        again = lifecycle.resume_job(session, session.get_one(JobRow, found.id))
        waits = found.kind == "import" or any(trainings.waits(workspace, one) for one in training)
        submitter.submit(session, again.id, len(again.request["stages"]), waits=waits)
        return job_queries.to_job(again)


def _what_if(workspace: Workspace, kind: str, stages: Sequence[TrainRequest | GenerateRequest]) -> WhatIf:
    """What the stages that are left would do, and cost at most."""
    from limner.operations.generations import submission as generations
    from limner.operations.payments import preflight, purchases
    from limner.operations.runs import submission as runs

    if kind != "generate":
        return preflight.what_if(*runs.plans(workspace, stages))
    steps = []
    for one in stages:
        if isinstance(one, GenerateRequest):
            done = purchases.given_up(workspace, one.generation) | generation_queries.drawn(workspace, one.generation)
            steps.append(generations.plans(workspace, one, done=done))
    return preflight.what_if(*steps)
