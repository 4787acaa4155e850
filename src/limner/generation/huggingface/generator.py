"""The generator of Hugging Face Inference Providers: one public lora of the Hub, drawn by fal or Replicate."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from limner.catalog.hosted import HostedModel
from limner.errors import (
    AccountRefused,
    ContentRefused,
    LimnerError,
    NotFound,
    OutOfCredit,
    Undecided,
)
from limner.findings import refusal
from limner.generation.alternatives import elsewhere
from limner.generation.checks import vendor_error
from limner.generation.fan_out import Brake, Paint
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.hosted import Foreseen, HostedGenerator, price_pictures, row_problems, words_of
from limner.generation.huggingface.checks import extra_problems, main_problems
from limner.hosted import Hosted
from limner.money.payments import Purchase, Receipt, announce
from limner.settings import Settings
from limner.types import Finding, PlannedCall, Reach, Severity
from limner.vendors.huggingface.hub import repo_at, router_url
from limner.vendors.secrets.tokens import token_for

if TYPE_CHECKING:
    from limner.vendors.huggingface.inference_providers import RouterClient, Served, Standing

__all__ = ["HuggingFaceGenerator"]

VENDOR = "huggingface"
AT_ONCE = 8


class HuggingFaceGenerator(HostedGenerator):
    """Draws with one lora that is public on the Hub, by whichever provider the Hub maps its repo to.

    Providers always take what is at main, so main is looked at before anything is sent. They keep no list of pictures:
    where the answer to a paid call is lost, the user is asked.
    """

    HOSTED = Hosted(
        vendor=VENDOR,
        does="generate",
        title="Hugging Face Inference Providers",
        summary="Draws with one public lora of the Hub, on fal's or Replicate's machines, billed by Hugging Face.",
        sees_photos="no photos; Hugging Face and the provider get the prompt and the lora, and make the pictures",
        account="a Hugging Face token that may call Inference Providers",
        login="limner login huggingface, or set HF_TOKEN",
        limits={"loras": 1, "pictures_at_once": AT_ONCE, "reproducible": False},
        reach=(Reach.HUGGING_FACE,),
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._hub_url = settings.huggingface_url.rstrip("/")

    def problems(self, order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
        if not order.used:
            message = "Inference Providers draw here with exactly one lora, and the order has none."
            yield refusal("lora-missing", message, elsewhere(order.base, besides=VENDOR))
        for use in order.used:
            if not repo_at(use.url, self._hub_url):
                message = f"Inference Providers take loras from a public repo of the Hub, and {use.name} is in none."
                yield refusal("lora-out-of-reach", message, f"limner publish {use.name} --hub huggingface --public")
        yield from self._row_problems(order, row)

    def _row_problems(self, order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
        yield from row_problems(order, row, self.HOSTED.title)
        yield from extra_problems(order, row)

    async def foresee(self, order: GenerationOrder, row: HostedModel, found: list[Finding]) -> Foreseen:
        """Ask the Hub who serves the repo, and whether main still holds this lora."""
        if any(finding.severity is Severity.REFUSAL for finding in found):
            return Foreseen(found, row)
        async with self._client() as client:
            problems, chosen = await self._ask(client, order)
        found += problems
        if chosen is None:
            return Foreseen(found, row)
        from limner.vendors.huggingface.inference_providers import call_of

        served, row, repo = chosen
        address = f"{router_url(self._settings)}/{call_of(served)}"
        body = self._body(order, row, served, repo, order.seed)
        left = order.count - len(order.done)
        return Foreseen(found, row, (PlannedCall("POST", address, body, costs=True, times=left),))

    @asynccontextmanager
    async def painting(self, order: GenerationOrder, row: HostedModel, brake: Brake) -> AsyncIterator[Paint]:
        del row  # the Hub says who draws it, and so with which row
        async with self._client() as client:
            problems, chosen = await self._ask(client, order)
            for problem in problems:
                if problem.severity is Severity.REFUSAL or chosen is None:
                    raise vendor_error(problem, VENDOR)
            assert chosen is not None  # noqa: S101 - else there was a problem
            yield lambda index: self._picture(client, order, index, chosen, brake)

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

        price = price_pictures(row, order, 1).amount
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
        versions = {"provider": served.provider, "model": served.model, "revision": repo.revision}
        return await self.drawn(order, index, data, seconds=seconds, versions=versions, sender=served.provider)

    def _client(self) -> RouterClient:
        from limner.vendors.huggingface.inference_providers import RouterClient

        return RouterClient(self._hub_url, router_url(self._settings), token_for(VENDOR, self._settings))

    def _rows(self, order: GenerationOrder) -> list[HostedModel]:
        return [row for row in self.HOSTED.rows(order.base.id, order.model) if not row.withdrawn]

    async def _ask(
        self, client: RouterClient, order: GenerationOrder
    ) -> tuple[list[Finding], tuple[Served, HostedModel, Standing] | None]:
        """Who draws it: the first of the Hub's mapping that the catalog has a row for."""
        use = order.used[0]
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
            found += self._row_problems(order, row)
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
            **weights_field(served, self._hub_url, repo.repo, order.used[0].scale),
        }
        body = words_of(row, ours) | dict(order.extra)
        if served.provider != "replicate":
            return body
        version = served.model.partition(":")[2]
        return {"input": body, **({"version": version} if version else {})}


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
