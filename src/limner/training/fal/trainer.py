"""FalTrainer: what the pipeline talks to. Starts a training at fal once, finds it again, and fetches its lora."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from limner.catalog.hosted import HostedModel
from limner.errors import (
    AccountRefused,
    AnswerLost,
    Conflict,
    LimnerError,
    NotFound,
    RecipeRefused,
    Undecided,
    WorkFailed,
)
from limner.findings import unmet
from limner.hosted import Hosted
from limner.money.payments import Purchase, Receipt, announce
from limner.money.prices import estimate_training
from limner.settings import Settings
from limner.training.fal.asking import PHOTOS, findings, model_input, row_of, steps_of
from limner.training.fal.following import follow
from limner.training.fal.run_notes import RunNotes
from limner.training.fal.weights import check_whole, leave_out_guidance
from limner.training.trainer import Collected, TrainingOrder, TrainingReport
from limner.types import BackEnd, Estimate, Finding, JobState, Plan, PlannedCall, Severity
from limner.vendors.secrets.tokens import token_for

if TYPE_CHECKING:
    from limner.vendors.fal.answers import Listed
    from limner.vendors.fal.client import FalClient, Job

__all__ = ["FalTrainer"]

VENDOR = "fal"
HOSTED = Hosted(
    vendor=VENDOR,
    does="train",
    title="fal",
    summary="Trains FLUX.1 and FLUX.2 in minutes on fal's machines, and charges by the step.",
    sees_photos="fal, at an address that anyone who has it can open; fal deletes them after two days",
    account="a key of fal",
    login="limner login fal, or set FAL_KEY",
    limits={"resumes": False, "checkpoints": False, "samples": False},
    package="fal",
)
PHOTOS_KEPT = 2 * 86_400
"""Seconds that fal keeps the uploaded photos: enough for a full queue. There is no way to delete them sooner."""
RESULTS_KEPT = 2 * 86_400
ELSEWHERE = "(the address of the uploaded photos)"


class FalTrainer:
    """Trains in fal's queue. fal has no way to say "this order, once", so a lost answer is looked up in its list."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def describe(self) -> BackEnd:
        return HOSTED.describe(self._settings)

    def check(self, order: TrainingOrder) -> Sequence[Finding]:
        return [*unmet(self.describe()), *findings(order)]

    def estimate(self, order: TrainingOrder) -> Estimate:
        try:
            row = row_of(order)
        except RecipeRefused as refusal:
            return Estimate(certain=False, note=refusal.message)
        return estimate_training(row, steps=steps_of(row, order))

    async def plan(self, order: TrainingOrder) -> Plan:
        found = list(self.check(order))
        try:
            row = row_of(order)
        except RecipeRefused:
            return Plan(VENDOR, "", (), self.estimate(order), tuple(found))
        if self.describe().ready:
            async with self._client() as fal:
                found += await _asked(fal, row)
        body = {**model_input(row, order), row.fields.get(PHOTOS, PHOTOS): ELSEWHERE}
        rest, queue = self._settings.fal_rest_url.rstrip("/"), self._settings.fal_queue_url.rstrip("/")
        calls = (
            PlannedCall("POST", f"{rest}/storage/auth/token", {}),
            PlannedCall("POST", f"{queue}/{row.model}", body, costs=True),
        )
        return Plan(VENDOR, row.model, calls, self.estimate(order), tuple(found))

    async def start(self, order: TrainingOrder) -> str:
        """Start or find again; gives fal's id of the request.

        RecipeRefused: fal cannot train it. AccountRefused, OutOfCredit, SpendingRefused, VendorFailed: nothing was
        started. Undecided: fal may have taken it.
        """
        notes = RunNotes.of(order.run_directory, order.id)
        if notes["request_id"]:
            return str(notes["request_id"])
        for finding in self.check(order):
            if finding.severity is Severity.REFUSAL:
                kind = AccountRefused if finding.code == "need" else RecipeRefused
                raise kind(finding.message, remedy=finding.remedy, thing=order.id)
        row = row_of(order)
        async with self._client() as fal:
            job = await self._bought(fal, order, row, notes)
        now = time.time()
        notes.write(
            request_id=job.request_id,
            model=job.model,
            status_url=job.status_url,
            response_url=job.response_url,
            cancel_url=job.cancel_url,
            at=now,
            changed_at=now,
        )
        return job.request_id

    async def reopen(self, order: TrainingOrder) -> str:
        """Start anew, for a price, what failed or was cancelled: fal keeps no checkpoint. What runs is found again."""
        notes = RunNotes.of(order.run_directory, order.id)
        if notes["told"] and not notes["result"]:
            notes.begin_again()
        return await self.start(order)

    async def poll(self, order: TrainingOrder, reference: str) -> TrainingReport:
        notes = self._notes(order, reference)
        async with self._client() as fal:
            report = await follow(fal, self._job(fal, order, notes), notes, self._steps(order))
        if (notes["failed"] or notes["result"]) and not notes["told"]:
            if (notes["failed"] or {}).get("free"):
                await order.payments.settle(_tag(order, notes), cost=Decimal(0))
            notes.write(told=True)
        return report

    async def cancel(self, order: TrainingOrder, reference: str) -> None:
        """Ask fal to stop. What is running may go on to its end there all the same, and is then paid and kept."""
        notes = self._notes(order, reference)
        if notes["result"] or notes["failed"]:
            return
        notes.write(cancel=True)
        async with self._client() as fal:
            await fal.cancel(self._job(fal, order, notes))

    async def collect(self, order: TrainingOrder, reference: str) -> Collected:
        """Fetch the lora. Conflict: there is none yet. NotFound: fal has deleted it."""
        notes = self._notes(order, reference)
        row = row_of(order)
        weights = order.run_directory / "weights.safetensors"
        cost = estimate_training(row, steps=steps_of(row, order)).amount
        async with self._client() as fal:
            job = self._job(fal, order, notes)
            report = await follow(fal, job, notes, self._steps(order))
            if report.state is not JobState.DONE:
                raise Conflict(
                    f"The training {order.id} has no lora yet: it is {report.state.value}.",
                    remedy="Wait for its end.",
                    thing=order.id,
                )
            result = notes["result"]
            try:
                await fal.download(result["url"], weights)
            except NotFound as gone:
                raise NotFound(
                    f"fal no longer has the lora of the training {order.id}.",
                    remedy="Train it again; fal keeps results for two days.",
                    thing=order.id,
                ) from gone
            await asyncio.to_thread(check_whole, weights)
            await asyncio.to_thread(leave_out_guidance, weights, order.base)
            forgotten = await fal.forget(job.request_id)
        await order.payments.settle(_tag(order, notes), cost=cost)
        return Collected(
            weights,
            losses=report.losses,
            cost=cost,
            left_behind=tuple(_left_behind(notes, forgotten=forgotten)),
        )

    # --- starting once ------------------------------------------------------------------------------------------

    async def _bought(self, fal: FalClient, order: TrainingOrder, row: HostedModel, notes: RunNotes) -> Job:
        """The request in the queue: sent now, or found because an earlier run had sent it."""
        told = model_input(row, order)
        photos = row.fields.get(PHOTOS, PHOTOS)
        given: list[Job] = []

        async def going_out() -> None:
            # the mark comes first: without it a request was surely never sent
            notes.write(sent_at=time.time())
            await announce()

        async def send() -> Receipt:
            body = {**told, photos: await self._uploaded(fal, order, notes)}
            try:
                job = await fal.submit(row.model, body, keep_seconds=RESULTS_KEPT, before=going_out)
            except LimnerError as failure:
                if not isinstance(failure, AnswerLost):
                    notes.write(sent_at=None)
                raise
            given.append(job)
            return Receipt(job.request_id)

        async def find() -> Receipt | None:
            return await self._found(fal, order, row, notes)

        purchase = Purchase(
            tag=_tag(order, notes),
            vendor=VENDOR,
            what="training",
            model=row.model,
            estimate=estimate_training(row, steps=steps_of(row, order)).amount,
            request={"input": {**told, photos: _package_name(order, notes)}},
            announced=True,
        )
        receipt = await order.payments.once(purchase, send=send, find=find)
        return given[0] if given else fal.job(row.model, receipt.reference)

    async def _uploaded(self, fal: FalClient, order: TrainingOrder, notes: RunNotes) -> str:
        """The address of the photos, uploaded unless they are there and stay for long enough."""
        now = time.time()
        if notes["photos_url"] and now - float(notes["photos_at"]) < PHOTOS_KEPT / 2:
            return str(notes["photos_url"])
        if order.package is None:
            raise WorkFailed("The photos cannot be packed for fal here.", remedy="Use another trainer.", thing=order.id)
        path = await asyncio.to_thread(order.package)
        name = _package_name(order, notes)
        url = await fal.upload(path, name, media_type="application/zip", keep_seconds=PHOTOS_KEPT)
        notes.write(photos_url=url, photos_name=name, photos_at=now)
        return url

    async def _found(self, fal: FalClient, order: TrainingOrder, row: HostedModel, notes: RunNotes) -> Receipt | None:
        """Look for the request in fal's list, by its photos: their name is this attempt's alone. None: never sent.

        Undecided: it was sent, and is not listed. fal may list a request only once it has ended.
        """
        photos, name = row.fields.get(PHOTOS, PHOTOS), _package_name(order, notes)

        def ours(listed: Listed) -> bool:
            address = str(listed.input.get(photos, ""))
            return bool(address) and (address == notes["photos_url"] or address.endswith(name))

        sent = notes["sent_at"]
        since = datetime.fromtimestamp(float(sent), UTC) if sent else None
        try:
            if not sent:
                return next((Receipt(one.request_id) for one in await fal.requests(row.model) if ours(one)), None)
            listed = await fal.find(row.model, ours, since=since)
        except LimnerError as failure:
            if not sent:
                return None
            raise _unknown(order, f"its list of requests cannot be read ({failure.message})") from failure
        if listed is None:
            raise _unknown(order, "does not list it, which it may do only once a request has ended")
        return Receipt(listed.request_id)

    # --- small things -------------------------------------------------------------------------------------------

    def _client(self) -> FalClient:
        from limner.vendors.fal.client import open_fal

        return open_fal(self._settings, token_for(VENDOR, self._settings))

    def _notes(self, order: TrainingOrder, reference: str) -> RunNotes:
        notes = RunNotes.of(order.run_directory, order.id)
        if not notes["request_id"]:
            notes.write(request_id=reference, at=time.time(), changed_at=time.time())
        if notes["request_id"] != reference:
            raise Conflict(f"'{reference}' is no training of order {order.id} at fal.", thing=order.id)
        return notes

    def _job(self, fal: FalClient, order: TrainingOrder, notes: RunNotes) -> Job:
        given: dict[str, Any] = {name: notes[name] for name in ("status_url", "response_url", "cancel_url")}
        return fal.job(str(notes["model"] or row_of(order).model), str(notes["request_id"]), given)

    def _steps(self, order: TrainingOrder) -> int:
        try:
            return steps_of(row_of(order), order)
        except RecipeRefused:
            return order.recipe.steps


async def _asked(fal: FalClient, row: HostedModel) -> list[Finding]:
    """Free questions: is the key good, is the model there, and could a lost request be looked up?"""
    found: list[Finding] = []
    try:
        if not await fal.knows_model(row.model):
            message = f"fal does not offer {row.model} today."
            found.append(Finding("model-gone", Severity.REFUSAL, message, "Name another: --set trainer.model=..."))
    except LimnerError as failure:
        message = f"fal's list of models could not be asked for: {failure.message}"
        found.append(Finding("models-not-asked", Severity.WARNING, message, failure.remedy))
    try:
        await fal.requests(row.model, limit=1)
    except AccountRefused as refused:
        found.append(Finding("account", Severity.REFUSAL, refused.message, refused.remedy))
    except LimnerError as failure:
        message = f"fal's list of requests cannot be read, so a lost answer could not be looked up: {failure.message}"
        found.append(Finding("requests-not-listed", Severity.WARNING, message, failure.remedy))
    return found


def _tag(order: TrainingOrder, notes: RunNotes) -> str:
    """The purchase of this attempt; the first has the order's own id."""
    return order.id if notes.attempt == 1 else f"{order.id}.{notes.attempt}"


def _package_name(order: TrainingOrder, notes: RunNotes) -> str:
    """The name of the uploaded zip: only this attempt of this order has it, so a request is known by it."""
    return f"limner-{order.id}-{notes.attempt}.zip"


def _unknown(order: TrainingOrder, why: str) -> Undecided:
    return Undecided(
        f"The training {order.id} was sent to fal and no answer came; fal {why}. It may be running, and be paid.",
        remedy=f"Resume later, which looks again; or look at fal.ai/dashboard and: limner costs decide {order.id} ...",
        thing=order.id,
    )


def _left_behind(notes: RunNotes, *, forgotten: bool) -> list[str]:
    """What is still at fal, and until when."""
    left = []
    if notes["photos_url"]:
        until = datetime.fromtimestamp(float(notes["photos_at"]) + PHOTOS_KEPT, UTC)
        left.append(f"the photos uploaded to fal, which fal deletes by itself by {until:%Y-%m-%d %H:%M} UTC")
    if not forgotten:
        left.append("the lora and the record of the request at fal (it takes an admin's key to delete them)")
    return left
