"""The generator of Replicate: the model that a training there made, or a FLUX model that fetches loras by address."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.catalog.hosted import HostedModel
from limner.errors import (
    ContentRefused,
    InputRefused,
    LimnerError,
    NotFound,
    OutOfCredit,
    Undecided,
    VendorFailed,
    VendorRefused,
    WorkFailed,
)
from limner.findings import refuse
from limner.generation.fan_out import Brake, fan_out
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.hosted import Foreseen, HostedGenerator, price_pictures, row_problems
from limner.generation.metadata.pixels import media_type, opened
from limner.generation.replicate.inputs import HOSTED, Way, check_way, choose_way, fill_inputs
from limner.money.payments import Purchase, Receipt, announce
from limner.money.prices import price_of
from limner.types import Finding, PlannedCall, Severity
from limner.vendors.replicate.error_words import is_content, is_credit
from limner.vendors.secrets.tokens import redact, token_for

if TYPE_CHECKING:
    from limner.generation.replicate.lookup import Lookup
    from limner.vendors.replicate.client import Job, ReplicateClient
    from limner.vendors.replicate.input_schema import InputField

__all__ = ["ReplicateGenerator"]

VENDOR = "replicate"
MOST_PICTURE_BYTES = 100_000_000
LOOKS = (0.5, 1.0, 1.0, 1.5, 2.0, 3.0, 5.0)
"""Seconds before each look at a picture; the last again and again."""
FETCHES = 3
"""How often a picture is fetched that arrives damaged."""
PATIENCE = 1800.0
"""Seconds that a picture may take, a cold start and the queue included."""


@dataclass(frozen=True, slots=True)
class _Target:
    """What is asked, after a look at the vendor's: the model, its version ("" for an official model), its input."""

    way: Way
    model: str
    version: str
    fields: Mapping[str, InputField]


class ReplicateGenerator(HostedGenerator):
    """Draws at Replicate. A lora that was trained there needs no publication: its own private model draws."""

    HOSTED = HOSTED

    def row_of(self, order: GenerationOrder) -> HostedModel | Finding:
        way = choose_way(order)
        return way if isinstance(way, Finding) else way.row

    def problems(self, order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
        yield from row_problems(order, row, self.HOSTED.title)
        way = choose_way(order)
        if isinstance(way, Way):
            yield from check_way(way, order)

    def seconds(self, row: HostedModel, order: GenerationOrder, left: int, one_by_one: float) -> float:
        del row, order, left
        return one_by_one

    async def foresee(self, order: GenerationOrder, row: HostedModel, found: list[Finding]) -> Foreseen:
        """Ask for the account, and for the model's version with the input that it takes."""
        way = choose_way(order)
        calls: tuple[PlannedCall, ...] = ()
        assert isinstance(way, Way)  # noqa: S101 - the row is of one
        if self.describe().ready:
            try:
                async with self._client() as client:
                    await client.account()
                    target = await _target(client, way)
                body, more = fill_inputs(way, order, target.fields, order.seed)
                found += [one for one in more if one not in found]
                times = order.count - len(order.done)
                calls = (_planned(client.base_url, target, body, times),)
            except LimnerError as failure:
                found.append(Finding("vendor", Severity.REFUSAL, failure.message, failure.remedy))
        return Foreseen(found, row, calls, way.model)

    async def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        """Draw, and tell the ledger what each picture cost once it is stored. Errors as ``HostedGenerator.draw``."""
        from limner.generation.replicate.lookup import Lookup

        way = choose_way(order)
        refuse(await asyncio.to_thread(self.check, order), InputRefused)
        assert isinstance(way, Way)  # noqa: S101 - a Finding was refused above
        async with self._client() as client:
            target = await _target(client, way)
            refuse(fill_inputs(way, order, target.fields, order.seed)[1], InputRefused)
            brake, lookup = Brake(), Lookup(client, target.model, target.version, order.payments)
            costs: dict[int, tuple[str, Decimal]] = {}

            async def paint(index: int) -> Drawn:
                return await self._picture(client, target, order, index, brake, lookup, costs)

            left = [index for index in range(order.count) if index not in order.done]
            settling: list[asyncio.Task[None]] = []
            try:
                async with aclosing(fan_out(left, paint, most=self.pictures_at_once, brake=brake)) as coming:
                    async for drawn in coming:
                        yield drawn
                        # Only now is it stored. Not waited for here: a wish to stop must reach the pictures under way.
                        if drawn.index in costs:
                            reference, cost = costs[drawn.index]
                            told = order.payments.settle(order.tag(drawn.index), cost=cost, reference=reference)
                            settling.append(asyncio.create_task(told))
            finally:
                await asyncio.gather(*settling)

    def _client(self) -> ReplicateClient:
        from limner.vendors.replicate.client import ReplicateClient

        return ReplicateClient(self._settings.replicate_url, token_for(VENDOR, self._settings))

    async def _picture(
        self,
        client: ReplicateClient,
        target: _Target,
        order: GenerationOrder,
        index: int,
        brake: Brake,
        lookup: Lookup,
        costs: dict[int, tuple[str, Decimal]],
    ) -> Drawn:
        body, _ = fill_inputs(target.way, order, target.fields, order.seed + index)
        tag = order.tag(index)
        started = time.perf_counter()

        async def send() -> Receipt:
            await client.create_turn()
            brake.go(index)
            await announce()
            lookup.sent(tag)
            job = await client.create_prediction(target.model, target.version, {"input": body})
            return Receipt(job.id, answer=job)

        async def find() -> Receipt | None:
            job = await lookup.find(tag, body)
            return Receipt(job.id, answer=job) if job is not None else None

        price = price_pictures(target.way.row, order, 1).amount
        purchase = Purchase(tag, VENDOR, "picture", target.model, price, body, announced=True)
        receipt = await order.payments.once(purchase, send=send, find=find, settle=False)
        job = await _ended(client, receipt.reference)
        if job is None or (job.status == "succeeded" and not _urls(job.output)):
            raise Undecided(
                f"Picture {index} was paid for and is not stored; Replicate keeps a picture for about an hour only.",
                remedy=f"limner costs decide {tag} again draws it once more, for its price.",
                thing=tag,
            )
        cost = _cost(target.way.row, job)
        if job.status != "succeeded":
            await order.payments.failed(tag, cost=cost or Decimal(0))
            raise _failure(job, order, target)
        if cost is not None:
            costs[index] = job.id, cost
        data = await _fetched(client, _urls(job.output)[0], order, index)
        seconds = time.perf_counter() - started
        versions = {
            "vendor": VENDOR,
            "model": target.model,
            "version": target.version or job.version,
            "prediction": job.id,
        }
        versions = {name: value for name, value in versions.items() if value}
        return Drawn(index, order.seed + index, data, media_type(data), seconds, versions)


async def _target(client: ReplicateClient, way: Way) -> _Target:
    """The version to ask, and the fields of its input. VendorRefused: the vendor has the model no longer."""
    from limner.vendors.replicate.input_schema import input_fields

    version = way.version
    try:
        if version:
            fields = input_fields(await client.version(way.model, version), "Input")
            return _Target(way, way.model, version, fields)
        model = await client.model(way.model)
    except NotFound as gone:
        raise VendorRefused(
            f"Replicate has {way.model}{':' + version if version else ''} no longer, or it is another account's.",
            remedy="Publish the lora and draw with --model, or with another generator.",
            thing=way.model,
        ) from gone
    fields = input_fields(model.schema, "Input")
    if model.official or not model.version:
        return _Target(way, way.model, "", fields)
    if not fields:
        fields = input_fields(await client.version(way.model, model.version), "Input")
    return _Target(way, way.model, model.version, fields)


async def _ended(client: ReplicateClient, prediction: str) -> Job | None:
    """A prediction once it has ended; None if its data are gone. WorkFailed: it goes on for too long."""
    until = time.monotonic() + PATIENCE
    look = 0
    while True:
        try:
            job = await client.prediction(prediction)
        except NotFound:
            return None
        if not job.going:
            return job
        if time.monotonic() > until:
            raise WorkFailed(
                f"The picture at Replicate is not done after {PATIENCE / 60:.0f} minutes (it is '{job.status}').",
                remedy="Let the job go on later: it is looked up there, and not paid again.",
                thing=prediction,
            )
        await asyncio.sleep(LOOKS[min(look, len(LOOKS) - 1)])
        look += 1


async def _fetched(client: ReplicateClient, url: str, order: GenerationOrder, index: int) -> bytes:
    """The picture's bytes, whole and decodable. VendorFailed: they are not, however often they are fetched."""
    for left in reversed(range(FETCHES)):
        with tempfile.TemporaryDirectory() as folder:
            path = await client.download(url, Path(folder) / "picture", authorised=True, most=MOST_PICTURE_BYTES)
            data = await asyncio.to_thread(path.read_bytes)
        try:
            await asyncio.to_thread(_look_at, data)
        except InputRefused as damaged:
            if not left:
                raise VendorFailed(
                    f"What Replicate gave as picture {index} is no picture: {damaged.message}",
                    remedy="Let the job go on: it is fetched again, and not paid again.",
                    thing=order.tag(index),
                ) from damaged
        else:
            return data
    raise AssertionError("unreachable")


def _look_at(data: bytes) -> None:
    with opened(data):
        return


def _failure(job: Job, order: GenerationOrder, target: _Target) -> LimnerError:
    """Why there is no picture, in one sentence with the remedy."""
    said = redact(job.error)[:300].rstrip(".")
    words = f": {said}" if said else ""
    if is_content(job.error):
        return ContentRefused(
            f"Replicate's content filter refused the picture{words}.",
            remedy="Change the prompt or the seed.",
            thing=order.id,
        )
    if is_credit(job.error):
        return OutOfCredit(f"The account at Replicate has no credit{words}.", remedy="Add credit there.", thing=VENDOR)
    if job.status == "aborted":
        return WorkFailed(
            "Replicate ended the picture before it began, so it cost nothing.", remedy="Draw again.", thing=order.id
        )
    if job.status in ("canceled", "cancelled"):
        return WorkFailed(
            "The picture was stopped at Replicate, and not by Limner.", remedy="Draw again.", thing=order.id
        )
    names = ", ".join(use.name for use in order.loras)
    if any(word in job.error.lower() for word in ("safetensors", "lora", "client error", "parse url", "load weights")):
        return VendorRefused(
            f"Replicate cannot load the lora {names}{words}.",
            remedy="Look whether anybody can fetch it and whether it fits: limner inspect",
            thing=names,
        )
    return WorkFailed(
        f"Replicate could not draw with {target.model}{words}.",
        remedy="Draw again, or with another generator.",
        thing=order.id,
    )


def _urls(output: Any) -> list[str]:
    """The addresses of an output, whatever its form."""
    if isinstance(output, str):
        return [output] if output.startswith(("https://", "http://")) else []
    if isinstance(output, Mapping):
        output = list(output.values())
    return [url for one in output for url in _urls(one)] if isinstance(output, list) else []


def _cost(row: HostedModel, job: Job) -> Decimal | None:
    """By the time that the vendor says it charges for; where it charges by the picture the estimate stands."""
    price = price_of(row)
    if job.status == "aborted":
        return Decimal(0)
    if price.model != "per_second" or job.seconds is None:
        return None
    return (price.amount * Decimal(str(job.seconds))).quantize(Decimal("0.000001"))


def _planned(base_url: str, target: _Target, body: Mapping[str, Any], times: int) -> PlannedCall:
    if target.version:
        sent = {"version": target.version, "input": body}
        return PlannedCall("POST", f"{base_url}/v1/predictions", sent, costs=True, times=times)
    url = f"{base_url}/v1/models/{target.model}/predictions"
    return PlannedCall("POST", url, {"input": body}, costs=True, times=times)
