"""The generator of Hugging Face Inference Providers: one public lora of the Hub, drawn by fal or Replicate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limner.catalog.hosted import HostedModel, find_hosted
from limner.errors import (
    AccountRefused,
    ContentRefused,
    InputRefused,
    LimnerError,
    NotFound,
    OutOfCredit,
    Undecided,
)
from limner.findings import refuse
from limner.generation.alternatives import elsewhere
from limner.generation.checks import check_order, vendor_error
from limner.generation.fan_out import Brake, fan_out
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.huggingface.checks import main_problems, row_problems
from limner.generation.vendor_picture import picture_type
from limner.money.payments import Purchase, Receipt, announce
from limner.money.prices import estimate_pictures, price_of
from limner.settings import Settings
from limner.types import BackEnd, Estimate, Finding, LoraUse, Need, Plan, PlannedCall, Price, Reach, Severity
from limner.vendors.huggingface.hub import repo_at, router_url
from limner.vendors.secrets.tokens import has_token, token_for

if TYPE_CHECKING:
    from limner.vendors.huggingface.inference_providers import RouterClient, Served, Standing

__all__ = ["HuggingFaceGenerator"]

VENDOR = "huggingface"
AT_ONCE = 8


class HuggingFaceGenerator:
    """Draws with one lora that is public on the Hub, by whichever provider the Hub maps its repo to.

    Providers always take what is at main, so main is looked at before anything is sent. They keep no list of pictures:
    where the answer to a paid call is lost, the user is asked.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._hub_url = settings.huggingface_url.rstrip("/")

    def describe(self) -> BackEnd:
        rows = [row for row in find_hosted(VENDOR, "generate") if not row.withdrawn]
        return BackEnd(
            name=VENDOR,
            title="Hugging Face Inference Providers",
            summary="Draws with one public lora of the Hub, on fal's or Replicate's machines, billed by Hugging Face.",
            bases=tuple(dict.fromkeys(row.base for row in rows)),
            sees_photos="no photos; Hugging Face and the provider get the prompt and the lora, and make the pictures",
            price=price_of(rows[0]) if rows else Price("per_megapixel", certain=False),
            needs=(
                Need(
                    "a Hugging Face token that may call Inference Providers",
                    has_token(VENDOR, self._settings),
                    "limner login huggingface, or set HF_TOKEN",
                ),
            ),
            limits={
                "loras": 1,
                "steps": max((row.most_steps for row in rows), default=0),
                "pictures_at_once": AT_ONCE,
                "reproducible": False,
            },
            vendor=VENDOR,
            reach=(Reach.HUGGING_FACE,),
            models=tuple(row.model for row in rows),
        )

    def check(self, order: GenerationOrder) -> Sequence[Finding]:
        found = [
            Finding("need", Severity.REFUSAL, f"Inference Providers need {need.name}.", need.how_to_get)
            for need in self.describe().needs
            if not need.met
        ]
        found += check_order(order, most_loras=1)
        rows = self._rows(order)
        if not rows:
            named = f" with {order.model}" if order.model else ""
            message = f"Inference Providers draw no {order.base.id} with loras{named}, by the catalog."
            return [*found, Finding("no-model", Severity.REFUSAL, message, elsewhere(order.base, besides=VENDOR))]
        used = _used(order)
        if not used:
            message = "Inference Providers draw here with exactly one lora, and the order has none."
            found.append(Finding("lora-missing", Severity.REFUSAL, message, elsewhere(order.base, besides=VENDOR)))
        for use in used:
            if not repo_at(use.url, self._hub_url):
                message = f"Inference Providers take loras from a public repo of the Hub, and {use.name} is in none."
                mend = f"limner publish {use.name} --hub huggingface --public"
                found.append(Finding("lora-out-of-reach", Severity.REFUSAL, message, mend))
        known = {finding.code for finding in found}
        return [*found, *(one for one in row_problems(order, rows[0]) if one.code not in known)]

    def estimate(self, order: GenerationOrder) -> Estimate:
        rows = self._rows(order)
        if not rows:
            return Estimate(certain=False, note=f"Inference Providers have no model for {order.base.id}")
        left = order.count - len(order.done)
        found = _price(rows[0], order, left)
        return found if found.seconds is None else replace(found, seconds=found.seconds / min(AT_ONCE, max(left, 1)))

    async def plan(self, order: GenerationOrder) -> Plan:
        """Ask the Hub who serves the repo, and whether main still holds this lora. Nothing is paid."""
        found = list(self.check(order))
        rows = self._rows(order)
        stopped = any(finding.severity is Severity.REFUSAL for finding in found)
        if not rows or stopped:
            return Plan(VENDOR, rows[0].model if rows else order.model, (), self.estimate(order), tuple(found))
        async with self._client() as client:
            problems, chosen = await self._ask(client, order)
        found += problems
        if chosen is None:
            return Plan(VENDOR, rows[0].model, (), self.estimate(order), tuple(found))
        from limner.vendors.huggingface.inference_providers import call_of

        served, row, repo = chosen
        address = f"{router_url(self._settings)}/{call_of(served)}"
        body = self._body(order, row, served, repo, order.seed)
        left = order.count - len(order.done)
        call = PlannedCall("POST", address, body, costs=True, times=left)
        estimate = self.estimate(replace(order, model=row.model))
        return Plan(VENDOR, row.model, (call,), estimate, tuple(found))

    async def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        """Draw what is not in ``order.done``, many at once. Cancelled, it still gives what was sent, then stops.

        InputRefused and its kinds: the order, the lora or the content is refused; AccountRefused, OutOfCredit,
        SpendingRefused; Undecided: a picture may have been paid; WorkFailed. Where only some failed, it says how many.
        """
        refuse(self.check(order), InputRefused)
        async with self._client() as client:
            problems, chosen = await self._ask(client, order)
            for problem in problems:
                if problem.severity is Severity.REFUSAL or chosen is None:
                    raise vendor_error(problem, VENDOR)
            assert chosen is not None  # noqa: S101 - else there was a problem
            brake = Brake()

            async def paint(index: int) -> Drawn:
                return await self._picture(client, order, index, chosen, brake)

            left = [index for index in range(order.count) if index not in order.done]
            async with aclosing(fan_out(left, paint, most=AT_ONCE, brake=brake)) as coming:
                async for drawn in coming:
                    yield drawn

    async def _picture(
        self,
        client: RouterClient,
        order: GenerationOrder,
        index: int,
        chosen: tuple[Served, HostedModel, Standing],
        brake: Brake,
    ) -> Drawn:
        """One picture. Its address is kept with the purchase, so that it can be fetched after a crash."""
        served, row, repo = chosen
        body = self._body(order, row, served, repo, order.seed + index)
        started = time.perf_counter()

        async def going_out() -> None:
            nonlocal started
            brake.go(index)
            await announce()
            started = time.perf_counter()

        async def send() -> Receipt:
            given = await client.draw(served, body, before=going_out)
            return Receipt(given.url, answer=given.flagged)

        price = _price(row, order, 1).amount
        tag = order.tag(index)
        purchase = Purchase(tag, VENDOR, "picture", row.model, price, {"input": body}, announced=True)
        receipt = await order.payments.once(purchase, send=send, settle=False)
        if receipt.answer:
            await order.payments.settle(tag)
            raise ContentRefused(
                f"The filter of {served.provider} judged picture {index} unfit and blacked it out.",
                remedy="Change the prompt or the seed, or set enable_safety_checker=false where that is right.",
                thing="prompt",
            )
        try:
            data = await client.fetch(receipt.reference)
        except NotFound as gone:
            raise Undecided(
                f"Picture {index} was paid for, and the provider does not keep it any longer.",
                remedy=f"limner costs decide {tag} again draws it once more, for its price.",
                thing=tag,
            ) from gone
        seconds = time.perf_counter() - started
        kind = await asyncio.to_thread(
            picture_type,
            data,
            sender=served.provider,
            vendor=VENDOR,
            remedy="Resume, which fetches it again and does not pay twice.",
        )
        versions = {"vendor": VENDOR, "provider": served.provider, "model": served.model, "revision": repo.revision}
        return Drawn(index, order.seed + index, data, kind, seconds, versions)

    def _client(self) -> RouterClient:
        from limner.vendors.huggingface.inference_providers import RouterClient

        return RouterClient(self._hub_url, router_url(self._settings), token_for(VENDOR, self._settings))

    def _rows(self, order: GenerationOrder) -> list[HostedModel]:
        rows = find_hosted(VENDOR, "generate", base=order.base.id, model=order.model)
        return [row for row in rows if not row.withdrawn]

    async def _ask(
        self, client: RouterClient, order: GenerationOrder
    ) -> tuple[list[Finding], tuple[Served, HostedModel, Standing] | None]:
        """Who draws it: the first of the Hub's mapping that the catalog has a row for."""
        use = _used(order)[0]
        try:
            repo = await client.standing(repo_at(use.url, self._hub_url))
        except LimnerError as failure:
            code = "account" if isinstance(failure, AccountRefused | OutOfCredit) else "repo-not-asked"
            return [Finding(code, Severity.REFUSAL, failure.message, failure.remedy)], None
        found = list(main_problems(use, repo))
        choice = next(_choices(self._rows(order), repo.served), None)
        if choice is None:
            found.append(_unserved(order, repo))
            return found, None
        served, row = choice
        if row.id != self._rows(order)[0].id:
            found += row_problems(order, row)
        if served.status not in ("live", "None"):
            message = f"The Hub marks {served.provider} as '{served.status}' for {repo.repo}."
            found.append(Finding("provider-not-live", Severity.WARNING, message, "It may fail; try another generator."))
        return found, (served, row, repo)

    def _body(
        self, order: GenerationOrder, row: HostedModel, served: Served, repo: Standing, seed: int
    ) -> dict[str, Any]:
        """The input of one picture, in the provider's words."""
        from limner.vendors.huggingface.inference_providers import weights_field

        names = {(width, height): name for name, (width, height) in row.size_names.items()}
        size = names.get((order.width, order.height)) or {"width": order.width, "height": order.height}
        ours: dict[str, Any] = {
            "prompt": order.prompt,
            "size": size,
            "steps": order.steps,
            "guidance": order.guidance,
            "seed": seed,
            **weights_field(served, self._hub_url, repo.repo, _used(order)[0].scale),
        }
        body = {**row.fixed, **{row.fields[word]: value for word, value in ours.items() if word in row.fields}}
        body |= dict(order.extra)
        if served.provider != "replicate":
            return body
        version = served.model.partition(":")[2]
        return {"input": body, **({"version": version} if version else {})}


def _used(order: GenerationOrder) -> list[LoraUse]:
    """The loras that do something."""
    return [use for use in order.loras if use.scale]


def _choices(rows: Sequence[HostedModel], served: Sequence[Served]) -> Iterator[tuple[Served, HostedModel]]:
    from limner.vendors.huggingface.inference_providers import PROVIDERS, weights_field

    for row in rows:
        for one in sorted(served, key=lambda one: one.status != "live"):
            # a row that has no word for the provider's loras would draw, and cost, without one
            takes = one.provider in PROVIDERS and set(weights_field(one, "", "", 1.0)) <= set(row.fields)
            if takes and one.model.partition(":")[0] == row.model:
                yield one, row


def _unserved(order: GenerationOrder, repo: Standing) -> Finding:
    others = ", ".join(sorted({f"{one.provider} ({one.model})" for one in repo.served}))
    known = f" It maps it to {others}, which Limner does not know." if others else ""
    message = f"The Hub maps {repo.repo} to no provider that draws {order.base.id} with it.{known}"
    return Finding("repo-not-served", Severity.REFUSAL, message, elsewhere(order.base, besides=VENDOR))


def _price(row: HostedModel, order: GenerationOrder, count: int) -> Estimate:
    size = sum(use.byte_size for use in order.loras)
    return estimate_pictures(
        row, width=order.width, height=order.height, steps=order.steps, count=count, lora_bytes=size
    )
