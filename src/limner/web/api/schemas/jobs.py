"""Jobs, and what a paid step would be."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, StrictBool

from limner.types import JobState
from limner.web.api.schemas.plain import Answer, Body, Failure, Finding, Money, PlainData

__all__ = ["Estimate", "Job", "JobEvent", "Plan", "PlannedCall", "Progress", "Resume", "StageRun", "WhatIf"]


class Progress(Answer):
    """How far a job is. ``rate`` is units a second, ``seconds_left`` an estimate; null where it is unknown."""

    stage: str
    done: int = 0
    total: int = 0
    unit: str = ""
    rate: float | None = None
    seconds_left: float | None = None
    loss: float | None = None
    message: str = ""


class StageRun(Answer):
    """One stage of a job: its state, its time in seconds, and its result."""

    stage: str
    state: JobState
    seconds: float | None = None
    result: PlainData = Field(default_factory=dict)


class Job(Answer):
    """One piece of long work. ``target`` is what it makes: the id of a training or generation, or a lora's name.

    ``resumed_as`` is the job that goes on with one that stopped.
    """

    id: str
    kind: str
    subject: str | None = None
    target: str = ""
    state: JobState
    progress: Progress | None = None
    stages: list[StageRun] = Field(default_factory=list)
    stage_names: list[str] = Field(default_factory=list)
    result: PlainData = Field(default_factory=dict)
    error: Failure | None = None
    cancel_requested: bool = False
    created_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    resumed_as: str = ""


class JobEvent(Answer):
    """Something that happened to a job: ``job.waiting``, ``job.running``, ``job.done``, ``job.failed`` and so on."""

    id: int
    kind: str
    job: str
    at: datetime


class Resume(Body):
    """How to go on with what has stopped."""

    yes: StrictBool = Field(default=False, description="Agree to its price, where it has to be paid anew.")


class Estimate(Answer):
    """What something will cost in US dollars and take in seconds (null: unknown), before it is started.

    ``certain`` is false where a vendor publishes no price, and ``amount`` is a careful guess.
    """

    amount: Money
    seconds: float | None = None
    certain: bool = True
    note: str = ""


class PlannedCall(Answer):
    """One request as it would be sent to a vendor, secrets left out, and how often; ``costs``: it is paid."""

    method: str
    url: str
    body: PlainData = Field(default_factory=dict)
    costs: bool = False
    times: int = 1


class Plan(Answer):
    """What one back end would do: with which model, what is sent, what it costs, and what was found."""

    back_end: str
    model: str
    calls: list[PlannedCall]
    estimate: Estimate
    findings: list[Finding] = Field(default_factory=list)


class WhatIf(Answer):
    """What would be done, by whom, and what it costs. ``possible``: nothing stands in the way. Nothing was sent."""

    plans: list[Plan]
    estimate: Estimate
    possible: bool
