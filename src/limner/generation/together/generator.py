"""The generator of Together AI: FLUX with loras that it fetches from public addresses, many pictures at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from limner.catalog.hosted import HostedModel
from limner.errors import (
    AccountRefused,
    LimnerError,
    OutOfCredit,
    Undecided,
    VendorRefused,
)
from limner.generation.alternatives import elsewhere
from limner.generation.checks import vendor_error
from limner.generation.fan_out import Brake, Paint
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.hosted import Foreseen, HostedGenerator, price_pictures, row_problems
from limner.generation.together.checks import address_problems, extra_problems, is_loopback
from limner.hosted import Hosted
from limner.money.payments import Purchase, Receipt, announce
from limner.settings import Settings
from limner.types import Finding, PlannedCall, Reach, Severity
from limner.vendors.secrets.tokens import token_for

if TYPE_CHECKING:
    from limner.vendors.secrets.redaction import Secret
    from limner.vendors.together.client import ListedModel, TogetherClient

__all__ = ["TogetherGenerator"]

VENDOR = "together"
AT_ONCE = 32
USUAL_RATE = 8.0
"""Pictures a second that are asked for before the vendor says otherwise; for the estimate of the time."""
LOOK_SECONDS = 10.0
LIST_SECONDS = 300.0
"""How long the vendor's list of models is believed."""


class TogetherGenerator(HostedGenerator):
    """Draws with a model of Together AI. Which model is the catalog's for the base, if the vendor still lists it.

    The vendor keeps no list of pictures: where the answer to a paid call is lost, the user is asked.
    """

    HOSTED = Hosted(
        vendor=VENDOR,
        does="generate",
        title="Together AI",
        summary="Draws in seconds with FLUX on Together AI's machines; fetches loras from public addresses.",
        sees_photos="no photos; Together AI gets the prompt and the lora, and makes the pictures",
        account="a token of Together AI",
        login="limner login together, or set TOGETHER_API_KEY",
        limits={"pictures_at_once": AT_ONCE, "reproducible": False},
        reach=(Reach.URL, Reach.HUGGING_FACE),
        asks_list=True,
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._listed: tuple[Secret | None, float, Mapping[str, ListedModel]] = (None, -math.inf, {})

    def problems(self, order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
        yield from row_problems(order, row, self.HOSTED.title, sized="aspect_ratio" not in order.extra, listed=True)
        yield from extra_problems(order.extra, row)
        loopback = is_loopback(self._settings.together_url)
        hubs = frozenset({"huggingface.co", "hf.co", urlsplit(self._settings.huggingface_url).netloc.lower()})
        for use in order.loras:
            yield from address_problems(use, hubs=hubs, loopback=loopback)

    def seconds(self, row: HostedModel, order: GenerationOrder, left: int, one_by_one: float) -> float:
        del one_by_one
        more = max(1.0, order.steps / row.steps) if row.steps else 1.0
        return (row.seconds or 0.0) * more * math.ceil(left / AT_ONCE) + left / USUAL_RATE

    async def foresee(self, order: GenerationOrder, row: HostedModel, found: list[Finding]) -> Foreseen:
        """Ask the vendor for its list, and look whether each lora can be fetched by anyone."""
        if self.describe().ready:
            async with self._client() as client:
                problems, row = await self._ask(client, order)
                found = [one for one in found if one.code != "model-withdrawn"] + problems
                found += [one for use in order.loras if use.url for one in await self._look(client, use.name, use.url)]
        left = order.count - len(order.done)
        root = self._settings.together_url.rstrip("/").removesuffix("/v1")
        body = self._body(order, row, order.seed)
        calls = (
            PlannedCall("GET", f"{root}/v1/models"),
            PlannedCall("POST", f"{root}/v1/images/generations", body, costs=True, times=left),
        )
        return Foreseen(found, row, calls)

    @asynccontextmanager
    async def painting(self, order: GenerationOrder, row: HostedModel, brake: Brake) -> AsyncIterator[Paint]:
        async with self._client() as client:
            problems, row = await self._ask(client, order)
            for problem in problems:
                if problem.severity is Severity.REFUSAL:
                    raise vendor_error(problem, VENDOR)
            yield lambda index: self._picture(client, row, order, index, brake)

    async def _picture(
        self, client: TogetherClient, row: HostedModel, order: GenerationOrder, index: int, brake: Brake
    ) -> Drawn:
        from limner.vendors.together.client import Given, ModelGone

        body = self._body(order, row, order.seed + index)
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

        price = price_pictures(row, order, 1).amount
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
        versions = {"model": row.model}
        if receipt.answer.model not in ("", row.model):
            versions["model_answered"] = receipt.answer.model
        return await self.drawn(
            order,
            index,
            data,
            seconds=seconds,
            versions=versions,
            remedy="It may have been paid; look at your account there, and ask again.",
        )

    def _client(self) -> TogetherClient:
        from limner.vendors.together.client import TogetherClient

        return TogetherClient(self._settings.together_url, token_for(VENDOR, self._settings))

    async def _ask(self, client: TogetherClient, order: GenerationOrder) -> tuple[list[Finding], HostedModel]:
        """Which row the vendor's live list allows, and what is to be said of it."""
        rows = self.HOSTED.rows(order.base.id, order.model)
        try:
            listed = await self._list(client)
        except (AccountRefused, OutOfCredit) as refused:
            return [Finding("account", Severity.REFUSAL, refused.message, refused.remedy)], rows[0]
        except LimnerError as failure:
            message = f"The list of models could not be asked for: {failure.message}"
            gone = [self._withdrawn(order, rows[0])] if rows[0].withdrawn else []
            return [Finding("list-not-asked", Severity.WARNING, message, failure.remedy), *gone], rows[0]
        for row in rows:
            if row.model in listed:
                return [], row
        return [self._withdrawn(order, rows[0])], rows[0]

    async def _list(self, client: TogetherClient) -> Mapping[str, ListedModel]:
        """What the vendor lists for this token, asked for every few minutes."""
        token = token_for(VENDOR, self._settings)()
        known, looked, listed = self._listed
        if known != token or time.monotonic() - looked > LIST_SECONDS:
            listed = await client.models()
            self._listed = token, time.monotonic(), listed
        return listed

    def _withdrawn(self, order: GenerationOrder, row: HostedModel) -> Finding:
        since = f" (it went on {row.withdrawn})" if row.withdrawn else ""
        message = f"Together AI does not list {row.model} today{since}."
        remedy = elsewhere(order.base, besides=VENDOR, model=row.model)
        return Finding("model-withdrawn", Severity.REFUSAL, message, remedy)

    def _gone(self, order: GenerationOrder, row: HostedModel, said: str) -> VendorRefused:
        self._listed = (None, -math.inf, {})
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
        loras = [{"path": use.url, "scale": use.scale} for use in order.used]
        if loras:
            body["image_loras"] = loras
        if "aspect_ratio" in order.extra:
            del body["width"], body["height"]
        return body | dict(order.extra)
