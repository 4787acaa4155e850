"""The generator of Together AI: FLUX with loras that it fetches from public addresses, many pictures at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from limner.catalog.hosted import HostedModel, find_hosted, hosted
from limner.errors import (
    AccountRefused,
    InputRefused,
    LimnerError,
    OutOfCredit,
    Undecided,
    VendorRefused,
)
from limner.findings import refuse
from limner.generation.alternatives import elsewhere
from limner.generation.checks import check_order, vendor_error
from limner.generation.fan_out import Brake, fan_out
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.together.checks import extra_problems, is_loopback, lora_problems
from limner.generation.vendor_picture import picture_type
from limner.money.payments import Purchase, Receipt, announce
from limner.money.prices import estimate_pictures, price_of
from limner.settings import Settings
from limner.types import BackEnd, Estimate, Finding, Need, Plan, PlannedCall, Price, Reach, Severity
from limner.vendors.secrets.tokens import has_token, token_for

if TYPE_CHECKING:
    from limner.vendors.together import ListedModel, TogetherClient

__all__ = ["TogetherGenerator"]

VENDOR = "together"
AT_ONCE = 32
USUAL_RATE = 8.0
"""Pictures a second that are asked for before the vendor says otherwise; for the estimate of the time."""
MOST_LORAS = 2
LOOK_SECONDS = 10.0
LIST_SECONDS = 300.0
"""How long the vendor's list of models is believed."""


class TogetherGenerator:
    """Draws with a model of Together AI. Which model is the catalog's for the base, if the vendor still lists it.

    The vendor keeps no list of pictures: where the answer to a paid call is lost, the user is asked.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._listed: Mapping[str, ListedModel] = {}
        self._looked = -math.inf

    def describe(self) -> BackEnd:
        rows = find_hosted(VENDOR, "generate")
        offered = [row for row in rows if not row.withdrawn]
        price = price_of(offered[0]) if offered else Price("per_megapixel_step", certain=False)
        return BackEnd(
            name=VENDOR,
            title="Together AI",
            summary="Draws in seconds with FLUX on Together AI's machines; fetches loras from public addresses.",
            bases=tuple(dict.fromkeys(row.base for row in rows)),
            sees_photos="no photos; Together AI gets the prompt and the lora, and makes the pictures",
            price=price,
            needs=(
                Need(
                    "a token of Together AI",
                    has_token(VENDOR, self._settings),
                    "limner login together, or set TOGETHER_API_KEY",
                ),
            ),
            limits={
                "loras": max((row.most_loras for row in offered), default=MOST_LORAS),
                "steps": max((row.most_steps for row in offered), default=0),
                "pictures_at_once": AT_ONCE,
                "reproducible": False,
            },
            vendor=VENDOR,
            reach=(Reach.URL, Reach.HUGGING_FACE),
            models=tuple(row.model for row in rows),
        )

    def check(self, order: GenerationOrder) -> Sequence[Finding]:
        found = [
            Finding("need", Severity.REFUSAL, f"Together AI needs {need.name}.", need.how_to_get)
            for need in self.describe().needs
            if not need.met
        ]
        rows = self._rows(order)
        found += check_order(order, most_loras=rows[0].most_loras if rows else MOST_LORAS)
        if not rows:
            return [*found, self._no_row(order)]
        if rows[0].withdrawn:
            message = f"Together AI took {rows[0].model} off its list on {rows[0].withdrawn}."
            remedy = elsewhere(order.base, besides=VENDOR, model=rows[0].model)
            found.append(Finding("model-withdrawn", Severity.WARNING, message, remedy))
        return [*found, *self._row_problems(order, rows[0])]

    def estimate(self, order: GenerationOrder) -> Estimate:
        """What the pictures not in ``order.done`` cost. Together AI charges more than its usual steps in proportion."""
        rows = self._rows(order)
        if not rows:
            return Estimate(certain=False, note=f"Together AI has no model for {order.base.id}")
        left = order.count - len(order.done)
        found = _pictures(rows[0], order, left)
        if rows[0].seconds is None:
            return found
        more = max(1.0, order.steps / rows[0].steps) if rows[0].steps else 1.0
        return replace(found, seconds=rows[0].seconds * more * math.ceil(left / AT_ONCE) + left / USUAL_RATE)

    async def plan(self, order: GenerationOrder) -> Plan:
        """Ask the vendor for its list, and look whether each lora can be fetched by anyone. Nothing is paid."""
        found = list(self.check(order))
        rows = self._rows(order)
        if not rows:
            return Plan(VENDOR, order.model, (), self.estimate(order), tuple(found))
        row = rows[0]
        if self.describe().ready:
            async with self._client() as client:
                problems, row = await self._ask(client, order, rows)
                found = [one for one in found if one.code != "model-withdrawn"] + problems
                found += [one for use in order.loras if use.url for one in await self._look(client, use.name, use.url)]
        body = self._body(order, row, order.seed)
        left = order.count - len(order.done)
        root = self._settings.together_url.rstrip("/").removesuffix("/v1")
        calls = (
            PlannedCall("GET", f"{root}/v1/models"),
            PlannedCall("POST", f"{root}/v1/images/generations", body, costs=True, times=left),
        )
        return Plan(VENDOR, row.model, calls, self.estimate(replace(order, model=row.model)), tuple(found))

    async def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        """Draw what is not in ``order.done``, many at once. Cancelled, it still gives what was sent, then stops.

        InputRefused and its kinds: the order, a lora or the content is refused; AccountRefused, OutOfCredit,
        SpendingRefused; Undecided: a picture may have been paid; WorkFailed. Where only some failed, it says how many.
        """
        refuse(self.check(order), InputRefused)
        async with self._client() as client:
            problems, row = await self._ask(client, order, self._rows(order))
            for problem in problems:
                if problem.severity is Severity.REFUSAL:
                    raise vendor_error(problem, VENDOR)
            brake = Brake()

            async def paint(index: int) -> Drawn:
                return await self._picture(client, row, order, index, brake)

            left = [index for index in range(order.count) if index not in order.done]
            async with aclosing(fan_out(left, paint, most=AT_ONCE, brake=brake)) as coming:
                async for drawn in coming:
                    yield drawn

    async def _picture(
        self, client: TogetherClient, row: HostedModel, order: GenerationOrder, index: int, brake: Brake
    ) -> Drawn:
        from limner.vendors.together import Given, ModelGone

        seed = order.seed + index
        body = self._body(order, row, seed)
        started = time.perf_counter()

        async def going_out() -> None:
            nonlocal started
            brake.go(index)
            await announce()
            started = time.perf_counter()

        async def send() -> Receipt:
            try:
                given = await client.generate(body, before=going_out)
            except ModelGone as gone:
                raise self._gone(order, row, gone.message) from gone
            return Receipt(given.id, answer=given)

        price = _pictures(row, order, 1).amount
        purchase = Purchase(order.tag(index), VENDOR, "picture", row.model, price, body, announced=True)
        receipt = await order.payments.once(purchase, send=send, settle=False)
        if not isinstance(receipt.answer, Given):
            raise Undecided(
                f"Picture {index} was paid for before and is not stored; Together AI keeps none.",
                remedy=f"limner costs decide {purchase.tag} again draws it once more, for its price.",
                thing=purchase.tag,
            )
        data = await client.fetch(receipt.answer)
        seconds = time.perf_counter() - started
        kind = await asyncio.to_thread(
            picture_type,
            data,
            sender="Together AI",
            vendor=VENDOR,
            remedy="It may have been paid; look at your account there, and ask again.",
        )
        versions = {"vendor": VENDOR, "model": row.model}
        if receipt.answer.model not in ("", row.model):
            versions["model_answered"] = receipt.answer.model
        return Drawn(index, seed, data, kind, seconds, versions)

    def _client(self) -> TogetherClient:
        from limner.vendors.together import TogetherClient

        return TogetherClient(self._settings.together_url, token_for(VENDOR, self._settings))

    def _rows(self, order: GenerationOrder) -> list[HostedModel]:
        return find_hosted(VENDOR, "generate", base=order.base.id, model=order.model)

    def _no_row(self, order: GenerationOrder) -> Finding:
        """Why no row serves the order, and what would."""
        remedy = elsewhere(order.base, besides=VENDOR)
        others = [row for row in hosted().values() if row.vendor == VENDOR and order.model in (row.model, row.id)]
        if order.model and others:
            message = f"{others[0].model} draws {others[0].base}, and the order is for {order.base.id}."
            return Finding("model-of-another-base", Severity.REFUSAL, message, remedy)
        if order.model:
            message = f"The catalog has no model '{order.model}' of Together AI."
            known = ", ".join(row.model for row in find_hosted(VENDOR, "generate"))
            return Finding("model-unknown", Severity.REFUSAL, message, f"It has {known}; or add a row of your own.")
        message = f"Together AI draws nothing of {order.base.id} with loras."
        return Finding("no-model", Severity.REFUSAL, message, remedy)

    def _row_problems(self, order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
        """What the model's own limits forbid."""
        lowest, highest, multiple = row.sizes
        for name, size in (("width", order.width), ("height", order.height)):
            if "aspect_ratio" not in order.extra and (size % multiple or not lowest <= size <= highest):
                near = min(max(round(size / multiple) * multiple, lowest), highest)
                span = f"{lowest} to {highest} pixels, in multiples of {multiple}"
                message = f"The {name} {size} is not possible: {row.model} draws {span}."
                yield Finding(f"{name}-not-possible", Severity.REFUSAL, message, f"The nearest is {near}.")
        if row.most_steps and order.steps > row.most_steps:
            message = f"{order.steps} steps are not possible: {row.model} takes 1 to {row.most_steps}."
            yield Finding("steps-out-of-range", Severity.REFUSAL, message, f"It takes {row.steps} by default.")
        yield from extra_problems(order.extra, row)
        loopback = is_loopback(self._settings.together_url)
        hubs = frozenset({"huggingface.co", "hf.co", urlsplit(self._settings.huggingface_url).netloc.lower()})
        for use in order.loras:
            yield from lora_problems(use, row, hubs=hubs, loopback=loopback)

    async def _ask(
        self, client: TogetherClient, order: GenerationOrder, rows: Sequence[HostedModel]
    ) -> tuple[list[Finding], HostedModel]:
        """Which row the vendor's live list allows, and what is to be said of it."""
        try:
            if time.monotonic() - self._looked > LIST_SECONDS:
                self._listed, self._looked = await client.models(), time.monotonic()
        except (AccountRefused, OutOfCredit) as refused:
            return [Finding("account", Severity.REFUSAL, refused.message, refused.remedy)], rows[0]
        except LimnerError as failure:
            message = f"The list of models could not be asked for: {failure.message}"
            gone = [self._withdrawn(order, rows[0])] if rows[0].withdrawn else []
            return [Finding("list-not-asked", Severity.WARNING, message, failure.remedy), *gone], rows[0]
        for row in rows:
            if row.model in self._listed:
                return [], row
        return [self._withdrawn(order, rows[0])], rows[0]

    def _withdrawn(self, order: GenerationOrder, row: HostedModel) -> Finding:
        since = f" (it went on {row.withdrawn})" if row.withdrawn else ""
        message = f"Together AI does not list {row.model} today{since}."
        remedy = elsewhere(order.base, besides=VENDOR, model=row.model)
        return Finding("model-withdrawn", Severity.REFUSAL, message, remedy)

    def _gone(self, order: GenerationOrder, row: HostedModel, said: str) -> VendorRefused:
        self._looked = -math.inf
        return VendorRefused(said, remedy=elsewhere(order.base, besides=VENDOR, model=row.model), thing=row.model)

    async def _look(self, client: TogetherClient, name: str, url: str) -> list[Finding]:
        """Whether anyone can read an address, judged from here: the vendor sends no token either."""
        try:
            status = await asyncio.wait_for(client.look(url), LOOK_SECONDS)
        except Exception as failure:  # whatever a stranger's server may do
            message = f"The address of {name} could not be looked at from here ({type(failure).__name__}): {url[:160]}"
            return [Finding("lora-not-seen", Severity.WARNING, message, "Open it in a browser without signing in.")]
        if status in (401, 403, 404, 410):
            message = f"Nobody can read {name} at {url[:160]} without an account (it answers {status})."
            remedy = f"limner publish {name} --public, or --hub s3 to keep it private."
            return [Finding("lora-out-of-reach", Severity.REFUSAL, message, remedy)]
        return []

    def _body(self, order: GenerationOrder, row: HostedModel, seed: int) -> dict[str, Any]:
        """The request for one picture."""
        body: dict[str, Any] = {
            "model": row.model,
            "prompt": order.prompt,
            "width": order.width,
            "height": order.height,
            "steps": order.steps,
            "n": 1,
            "seed": seed,
            "response_format": "base64",
            row.fields.get("guidance", "guidance_scale"): order.guidance,
            **row.fixed,
        }
        loras = [{"path": use.url, "scale": use.scale} for use in order.loras if use.scale]
        if loras:
            body["image_loras"] = loras
        if "aspect_ratio" in order.extra:
            del body["width"], body["height"]
        return body | dict(order.extra)


def _pictures(row: HostedModel, order: GenerationOrder, count: int) -> Estimate:
    size = sum(use.byte_size for use in order.loras)
    return estimate_pictures(
        row, width=order.width, height=order.height, steps=order.steps, count=count, lora_bytes=size
    )
