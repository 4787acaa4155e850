"""ReplicateTrainer: what the pipeline talks to. Starts, finds again, watches and stops trainings at Replicate."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.catalog.hosted import HostedModel, find_hosted
from limner.errors import Conflict, LimnerError, NotFound, RecipeRefused, WorkFailed
from limner.findings import unmet
from limner.hosted import Hosted
from limner.money.prices import estimate_training, price_of
from limner.settings import Settings
from limner.training.recipe import problems
from limner.training.replicate import outcomes
from limner.training.replicate.archive import MOST_WEIGHTS, DamagedArchive, take_weights
from limner.training.replicate.inputs import Wishes, check_offline, choose_row, read_wishes
from limner.training.replicate.log_lines import LogReading, log_tail, read_log
from limner.training.replicate.state import RunState
from limner.training.trainer import Collected, TrainingOrder, TrainingReport
from limner.types import BackEnd, Estimate, Finding, JobState, Plan, PlannedCall, Progress, Severity
from limner.vendors.secrets.tokens import token_for

if TYPE_CHECKING:
    from limner.training.replicate.buying import Buyer
    from limner.vendors.replicate.client import Job, ReplicateClient

__all__ = ["ReplicateTrainer"]

VENDOR = "replicate"
HOSTED = Hosted(
    vendor=VENDOR,
    does="train",
    title="Replicate",
    summary="Trains in your account at Replicate, on their GPUs; about twenty minutes for FLUX.1.",
    sees_photos="Replicate, until the training has ended; your captions stay in the training's files there",
    account="an account at Replicate",
    login="limner login replicate",
    limits={"resumes": False, "checkpoints": False, "samples": False, "zip_bytes": 100_000_000},
    package="replicate",
)
FIRST_LOOK, LAST_LOOK = 2.0, 20.0
"""Seconds between two looks at a training: at its start, and when it has gone on for some minutes."""

FETCHES = 3
"""How often the weights are fetched where they arrive damaged."""
REMARK = 120.0
"""Seconds after which a sign of life is written down anew; each one would keep the disk busy."""


class ReplicateTrainer:
    """Trains at Replicate, in the user's own account there.

    ``start`` may be called any number of times, by any process: at most one training is bought for an order, and a lost
    one is found again by its destination, version and uploaded photos. ``stuck_minutes`` without any sign of life, or
    ``most_hours`` in all, end it. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        stuck_minutes: float = 60.0,
        most_hours: float = 12.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.stuck_minutes = stuck_minutes
        self.most_hours = most_hours
        self.clock = clock

    def describe(self) -> BackEnd:
        return HOSTED.describe(self.settings)

    def check(self, order: TrainingOrder) -> Sequence[Finding]:
        """Find what would make the training fail, without asking anybody."""
        found = unmet(self.describe())
        found += [
            Finding("recipe", Severity.REFUSAL, str(problem), problem.remedy)
            for problem in problems(order.recipe, order.base)
        ]
        try:
            wishes = read_wishes(order.recipe)
            found += check_offline(choose_row(order, wishes), order, wishes)
        except RecipeRefused as refusal:
            found.append(Finding("trainer", Severity.REFUSAL, refusal.message, refusal.remedy))
        return found

    def estimate(self, order: TrainingOrder) -> Estimate:
        return estimate_training(choose_row(order, read_wishes(order.recipe)), steps=order.recipe.steps)

    async def plan(self, order: TrainingOrder) -> Plan:
        found = list(await asyncio.to_thread(self.check, order))
        try:
            wishes = read_wishes(order.recipe)
            row = choose_row(order, wishes)
        except RecipeRefused:
            return Plan(VENDOR, "", (), Estimate(certain=False), tuple(found))
        calls: tuple[PlannedCall, ...] = ()
        if self.describe().ready:
            try:
                async with self._client() as client:
                    calls, more = await self._buyer(client, order, row, wishes).foresee()
                found += [one for one in more if one not in found]
            except LimnerError as failure:
                found.append(Finding("vendor", Severity.REFUSAL, failure.message, failure.remedy))
        return Plan(VENDOR, row.model, calls, self.estimate(order), tuple(found))

    async def start(self, order: TrainingOrder) -> str:
        """Start or find again. RecipeRefused, AccountRefused, OutOfCredit, Undecided and others say why it cannot."""
        state = await asyncio.to_thread(RunState.load, order.run_directory)
        if not state.training:
            wishes = read_wishes(order.recipe)
            async with self._client() as client:
                await self._buyer(client, order, choose_row(order, wishes), wishes).buy(state)
        return f"{VENDOR}:{state.training}"

    async def reopen(self, order: TrainingOrder) -> str:
        """Like ``start``; a training that ended badly cannot go on at Replicate, so a new one is bought."""
        state = await asyncio.to_thread(RunState.load, order.run_directory)
        if state.training:
            async with self._client() as client:
                job = await _found(client, state.training)
            if job is not None and (job.going or job.status == "succeeded"):
                state.mark, state.marked = "", 0.0
            else:
                state.earlier.append(state.training)
                state.attempt += 1
                state.training, state.mark, state.marked, state.sent = "", "", 0.0, 0.0
            await asyncio.to_thread(state.save)
        return await self.start(order)

    async def poll(self, order: TrainingOrder, reference: str) -> TrainingReport:
        training = _training(reference)
        state = await asyncio.to_thread(RunState.load, order.run_directory)
        wishes = read_wishes(order.recipe)
        steps = order.recipe.steps
        async with self._client() as client:
            job = await _found(client, training)
            if job is None:
                progress = Progress("training", 0, steps, "steps")
                return TrainingReport(JobState.FAILED, progress, *outcomes.GONE)
            reading = await asyncio.to_thread(read_log, job.logs, steps)
            report = self._report(job, reading, state)
            if not job.going:
                await self._note_cost(order, state, job)
                return report
            quiet = await asyncio.to_thread(self._quiet, state, job)
            stuck, most = wishes.stuck_minutes or self.stuck_minutes, wishes.most_hours or self.most_hours
            if quiet > stuck * 60 or self._age(state, job) > most * 3600:
                # It still costs: what nobody waits for is stopped.
                await client.cancel_training(training)
                message, remedy = outcomes.STUCK
                if quiet <= stuck * 60:
                    message = f"The training at Replicate went on for more than {most:g} hours and was stopped there."
                return replace(report, state=JobState.FAILED, error=message.format(minutes=quiet / 60), remedy=remedy)
        return report

    async def cancel(self, order: TrainingOrder, reference: str) -> None:
        training = _training(reference)
        state = await asyncio.to_thread(RunState.load, order.run_directory)
        state.stopped = training
        await asyncio.to_thread(state.save)
        async with self._client() as client:
            await client.cancel_training(training)

    async def collect(self, order: TrainingOrder, reference: str) -> Collected:
        """Fetch the weights, delete the photos there. Conflict: it has not ended well. WorkFailed: no good weights."""
        training = _training(reference)
        state = await asyncio.to_thread(RunState.load, order.run_directory)
        async with self._client() as client:
            job = await _found(client, training)
            weights = order.run_directory / "weights.safetensors"
            if job is None:
                raise WorkFailed(outcomes.GONE[0], remedy=outcomes.GONE[1], thing=order.id)
            if job.status != "succeeded":
                raise Conflict(
                    f"The training {order.id} has no result yet: at Replicate it is '{job.status}'.",
                    remedy="Wait for its end, or train again.",
                    thing=order.id,
                )
            if not weights.is_file():
                await _fetch(client, job, order.run_directory / "given", weights)
            hosted = await _hosted(client, job, state)
            left = await self._buyer(client, order, None, Wishes()).clean_up(state)
            cost = await self._note_cost(order, state, job)
        reading = await asyncio.to_thread(read_log, job.logs, order.recipe.steps)
        return Collected(weights, losses=reading.losses, hosted=hosted, cost=cost, left_behind=left)

    def _client(self) -> ReplicateClient:
        from limner.vendors.replicate.client import ReplicateClient

        return ReplicateClient(self.settings.replicate_url, token_for(VENDOR, self.settings))

    def _buyer(self, client: ReplicateClient, order: TrainingOrder, row: HostedModel | None, wishes: Wishes) -> Buyer:
        from limner.training.replicate.buying import Buyer

        return Buyer(client, order, row, wishes, self.clock)

    def _report(self, job: Job, reading: LogReading, state: RunState) -> TrainingReport:
        running = job.going
        if job.status == "starting" or not job.known:
            message = "waiting for a GPU" if job.known else f"Replicate says '{job.status}'"
        else:
            message = reading.phase or "preparing"
        progress = Progress(
            stage="training",
            done=reading.done if job.status != "succeeded" else max(reading.done, reading.total),
            total=reading.total,
            unit="steps",
            rate=reading.rate,
            seconds_left=reading.seconds_left if running else None,
            loss=reading.loss,
            message=message if running else "",
        )
        losses, tail = reading.losses, log_tail(job.logs)
        if running:
            after = self._poll_after(self._age(state, job), reading)
            return TrainingReport(JobState.RUNNING, progress, poll_after=after, losses=losses, log=tail)
        if job.status == "succeeded":
            return TrainingReport(JobState.DONE, progress, losses=losses, log=tail)
        ended, message, remedy = outcomes.explain(job.status, job.error, job.logs, state.stopped == job.id)
        return TrainingReport(ended, progress, message, remedy, losses=losses, log=tail)

    def _age(self, state: RunState, job: Job) -> float:
        """For how many seconds it has gone on, by our clock where we know; the vendor's may be set differently."""
        began = state.sent or (job.created_at.timestamp() if job.created_at else self.clock())
        return max(0.0, self.clock() - began)

    def _poll_after(self, age: float, reading: LogReading) -> float:
        after = min(LAST_LOOK, FIRST_LOOK + age / 15)
        left = reading.seconds_left
        return after if left is None or not reading.done else min(after, max(FIRST_LOOK, left / 2))

    def _quiet(self, state: RunState, job: Job) -> float:
        """For how many seconds nothing of the training has changed."""
        seen = f"{job.status} {len(job.logs)} {job.logs[-200:]}"
        mark = hashlib.sha256(seen.encode()).hexdigest()[:16]
        quiet = max(0.0, self.clock() - state.marked) if state.marked else 0.0
        if mark == state.mark:
            return quiet
        if not state.marked or quiet > REMARK:
            state.mark, state.marked = mark, self.clock()
            state.save()
        return 0.0

    async def _note_cost(self, order: TrainingOrder, state: RunState, job: Job) -> Decimal | None:
        """What an ended training cost, told to the ledger once: a failed one is charged for its time as well."""
        rows = find_hosted(VENDOR, "train", base=order.base.id, model=state.model)
        cost = _cost(rows[0] if rows else None, job)
        if cost is not None and state.ended != job.id:
            await order.payments.settle(state.tag(order.id), cost=cost, reference=job.id)
            state.ended = job.id
            await asyncio.to_thread(state.save)
        return cost


def _cost(row: HostedModel | None, job: Job) -> Decimal | None:
    """By the time that the vendor says it charges for, or by the run."""
    if job.status == "aborted":
        return Decimal(0)
    price = price_of(row) if row is not None else None
    if price is not None and price.model == "per_second" and job.seconds is not None:
        return (price.amount * Decimal(str(job.seconds))).quantize(Decimal("0.000001"))
    if price is not None and price.model == "per_run" and job.status == "succeeded":
        return price.amount
    return None


def _training(reference: str) -> str:
    vendor, _, training = reference.partition(":")
    if vendor != VENDOR or not training:
        raise Conflict(f"'{reference}' is no training of the trainer replicate.", thing=reference)
    return training


async def _found(client: ReplicateClient, training: str) -> Job | None:
    try:
        return await client.training(training)
    except NotFound:
        return None


async def _fetch(client: ReplicateClient, job: Job, given: Path, weights: Path) -> None:
    url = _weights_url(job.output)
    if not url:
        raise WorkFailed(
            "The training at Replicate ended well, and its weights are not to be had any more."
            if job.removed or job.output is None
            else "The training at Replicate ended well, and does not say where its weights are.",
            remedy="Replicate keeps them for an hour. The trained model may be on your account; else train again.",
            thing=job.id,
        )
    for left in reversed(range(FETCHES)):
        try:
            await client.download(url, given, authorised=True, most=2 * MOST_WEIGHTS)
            await asyncio.to_thread(take_weights, given, weights)
        except DamagedArchive:
            if not left:
                raise
        except NotFound as gone:
            raise WorkFailed(
                "Replicate does not give the weights of this training any more: their address has expired.",
                remedy="The trained model may still be on your account there; else train again.",
                thing=job.id,
            ) from gone
        else:
            return
        finally:
            given.unlink(missing_ok=True)  # the captions are in it


def _weights_url(output: Any) -> str:
    """The address of the weights in whatever form a trainer gives it."""
    if isinstance(output, dict):
        named = output.get("weights") or next((v for v in output.values() if _is_url(v)), "")
        return _weights_url(named)
    if isinstance(output, list):
        return next((url for url in map(_weights_url, output) if url), "")
    return output if isinstance(output, str) and _is_url(output) else ""


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("https://", "http://"))


async def _hosted(client: ReplicateClient, job: Job, state: RunState) -> dict[str, str]:
    """The trained model's version, ``owner/name:version``: the training says it, else the newest is it."""
    said = job.output.get("version") if isinstance(job.output, dict) else None
    if isinstance(said, str) and ":" in said and "/" in said:
        return {VENDOR: said}
    if not state.destination:
        return {}
    try:
        model = await client.model(state.destination)
    except LimnerError:
        return {}
    version = said if isinstance(said, str) and said else model.version
    return {VENDOR: f"{state.destination}:{version}"} if version else {}
