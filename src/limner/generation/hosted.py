"""What generators at vendors have in common: saying what they are, checking an order, its price, its plan, drawing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from limner.catalog.hosted import HostedModel, hosted
from limner.errors import InputRefused, WorkFailed
from limner.findings import refusal, refuse, unmet
from limner.generation.alternatives import elsewhere
from limner.generation.checks import check_order
from limner.generation.fan_out import Brake, Paint, fan_out
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.metadata.pixels import media_type, opened
from limner.hosted import Hosted
from limner.money.prices import estimate_pictures
from limner.settings import Settings
from limner.types import BackEnd, Estimate, Finding, Plan, PlannedCall, Severity

__all__ = ["Foreseen", "HostedGenerator", "no_row", "price_pictures", "row_problems", "words_of"]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a vendor said to free questions: all findings by now, the row that draws, and the calls to come.

    ``model`` is the vendor's name of what draws, where it is not the row's.
    """

    findings: Sequence[Finding]
    row: HostedModel
    calls: tuple[PlannedCall, ...] = ()
    model: str = ""


class HostedGenerator:
    """A generator at a vendor, but for how it asks and draws; ``HOSTED`` is what it is."""

    HOSTED: ClassVar[Hosted]

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def pictures_at_once(self) -> int:
        """How many pictures are asked for side by side."""
        return int(self.HOSTED.limits["pictures_at_once"])

    def describe(self) -> BackEnd:
        return self.HOSTED.describe(self._settings)

    def check(self, order: GenerationOrder) -> Sequence[Finding]:
        row = self.row_of(order)
        about = self.describe()
        own = 0 if isinstance(row, Finding) else row.most_loras
        found = [*unmet(about), *check_order(order, most_loras=own or about.limits["loras"])]
        if isinstance(row, Finding):
            return [*found, row]
        known = {finding.code for finding in found}
        return [*found, *(one for one in self.problems(order, row) if one.code not in known)]

    def estimate(self, order: GenerationOrder) -> Estimate:
        """What the pictures not in ``order.done`` cost."""
        row = self.row_of(order)
        if isinstance(row, Finding):
            return Estimate(certain=False, note=row.message)
        left = order.count - len(order.done)
        found = price_pictures(row, order, left)
        return found if found.seconds is None else replace(found, seconds=self.seconds(row, order, left, found.seconds))

    async def plan(self, order: GenerationOrder) -> Plan:
        """What would be sent, after free questions to the vendor. Nothing is paid."""
        found = list(await asyncio.to_thread(self.check, order))
        row, vendor = self.row_of(order), self.HOSTED.vendor
        if isinstance(row, Finding):
            return Plan(vendor, order.model, (), self.estimate(order), tuple(found))
        seen = await self.foresee(order, row, found)
        estimate = self.estimate(order if seen.row is row else replace(order, model=seen.row.model))
        return Plan(vendor, seen.model or seen.row.model, seen.calls, estimate, tuple(seen.findings))

    async def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        """Draw what is not in ``order.done``, many at once. Cancelled, it still gives what was sent, then stops.

        InputRefused and its kinds: the order, a lora or the content is refused; AccountRefused, OutOfCredit,
        SpendingRefused; Undecided: a picture may have been paid; WorkFailed. Where only some failed, it says how many.
        """
        refuse(await asyncio.to_thread(self.check, order), InputRefused)
        row = self.row_of(order)
        assert isinstance(row, HostedModel)  # noqa: S101 - check refuses an order without one
        left = [index for index in range(order.count) if index not in order.done]
        brake = Brake()
        async with (
            self.painting(order, row, brake) as paint,
            aclosing(fan_out(left, paint, most=self.pictures_at_once, brake=brake)) as coming,
        ):
            async for drawn in coming:
                yield drawn

    async def drawn(
        self,
        order: GenerationOrder,
        index: int,
        data: bytes,
        *,
        seconds: float,
        versions: Mapping[str, str],
        sender: str = "",
        remedy: str = "Resume, which fetches it again and does not pay twice.",
    ) -> Drawn:
        """A picture that came; one of another size than asked for is kept, because it is paid. WorkFailed: it is none.

        ``sender`` is who gave it, where that is not the vendor.
        """

        def kind() -> str:
            with opened(data):
                return media_type(data)

        try:
            found = await asyncio.to_thread(kind)
        except InputRefused as failure:
            raise WorkFailed(
                f"{sender or self.HOSTED.title} gave {len(data):,} bytes that are no picture: {failure.message}",
                remedy=remedy,
                thing=self.HOSTED.vendor,
            ) from failure
        return Drawn(index, order.seed + index, data, found, seconds, {"vendor": self.HOSTED.vendor, **versions})

    # --- what each does in its own way ----------------------------------------------------------------------------

    def row_of(self, order: GenerationOrder) -> HostedModel | Finding:
        """The row of the catalog that draws an order, or why there is none and what would draw it."""
        rows = self.HOSTED.rows(order.base.id, order.model)
        return rows[0] if rows else no_row(self.HOSTED, order)

    def problems(self, order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
        """What forbids an order that a row would draw, or would make it come out otherwise than expected."""
        return row_problems(order, row, self.HOSTED.title)

    def seconds(self, row: HostedModel, order: GenerationOrder, left: int, one_by_one: float) -> float:
        """How long the pictures that are left take, if they take so long one by one."""
        del row, order
        return one_by_one / min(self.pictures_at_once, max(left, 1))

    async def foresee(self, order: GenerationOrder, row: HostedModel, found: list[Finding]) -> Foreseen:
        """Ask what is free, where there is a token for it."""
        raise NotImplementedError

    def painting(self, order: GenerationOrder, row: HostedModel, brake: Brake) -> AbstractAsyncContextManager[Paint]:
        """How one picture is bought and fetched, for as long as the vendor is connected."""
        raise NotImplementedError


def no_row(about: Hosted, order: GenerationOrder) -> Finding:
    """Why no row serves the order, and what would."""
    remedy = elsewhere(order.base, besides=about.vendor)
    others = [row for row in hosted().values() if row.vendor == about.vendor and order.model in (row.model, row.id)]
    if order.model and others:
        message = f"{others[0].model} draws {others[0].base}, and the order is for {order.base.id}."
        return refusal("model-of-another-base", message, remedy)
    if order.model:
        known = ", ".join(row.model for row in about.rows())
        message = f"The catalog has no model '{order.model}' of {about.title}."
        return refusal("model-unknown", message, f"It has {known}; or add a row of your own.")
    return refusal("no-model", f"{about.title} draws nothing of {order.base.id} with loras.", remedy)


def row_problems(
    order: GenerationOrder, row: HostedModel, title: str, *, sized: bool = True, listed: bool = False
) -> Iterator[Finding]:
    """What a model's own limits forbid. ``sized``: the size counts; ``listed``: the vendor says itself what it has."""
    if row.withdrawn:
        severity = Severity.WARNING if listed else Severity.REFUSAL
        message = f"{title} took {row.model} off its list on {row.withdrawn}."
        remedy = elsewhere(order.base, besides=row.vendor, model=row.model)
        yield Finding("model-withdrawn", severity, message, remedy)
    if sized:
        yield from _size_problems(order, row)
    if row.most_steps and order.steps > row.most_steps:
        message = f"{order.steps} steps are not possible: {row.model} takes 1 to {row.most_steps}."
        yield refusal("steps-out-of-range", message, f"{row.steps} are usual.")
    total = sum(use.byte_size for use in order.loras)
    if row.most_lora_bytes and total > row.most_lora_bytes:
        message = f"The loras have {total / 1e9:.1f} GB; {row.model} takes {row.most_lora_bytes / 1e9:.0f} GB in all."
        yield refusal("lora-too-large", message, "Leave one out, or train one of a lower rank.")
    lowest, highest = row.scales
    for use in order.loras:
        if not lowest <= use.scale <= highest:
            message = f"The scale {use.scale:g} of {use.name} is not possible: {row.model} takes {lowest:g} to "
            yield refusal("scale-out-of-range", f"{message}{highest:g}.", "0.3 to 1.2 is usual.")
        if use.naming and row.namings and use.naming not in row.namings:
            message = f"The tensors of {use.name} are named as {use.naming} does; {row.model} is known to read "
            remedy = "limner loras import converts it to the naming of diffusers; publish that."
            yield Finding("lora-naming", Severity.WARNING, f"{message}{', '.join(row.namings)} only.", remedy)


def _size_problems(order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
    lowest, highest, multiple = row.sizes
    named = [size for size in row.size_names.values() if all(lowest <= side <= highest for side in size)]
    if named:
        if (order.width, order.height) not in named:
            shape = order.width / max(order.height, 1)
            near = min(named, key=lambda size: abs(size[0] / size[1] - shape))
            message = f"The size {order.width} × {order.height} is not possible: {row.model} draws fixed sizes."
            yield refusal("size-not-possible", message, f"The nearest is {near[0]} × {near[1]}.")
        return
    for name, size in (("width", order.width), ("height", order.height)):
        if size % multiple or not lowest <= size <= highest:
            nearest = min(max(round(size / multiple) * multiple, lowest), highest)
            span = f"{lowest} to {highest} pixels, in multiples of {multiple}"
            message = f"The {name} {size} is not possible: {row.model} draws {span}."
            yield refusal(f"{name}-not-possible", message, f"The nearest is {nearest}.")


def price_pictures(row: HostedModel, order: GenerationOrder, count: int) -> Estimate:
    """What so many pictures of an order cost with a row."""
    size = sum(use.byte_size for use in order.loras)
    return estimate_pictures(
        row, width=order.width, height=order.height, steps=order.steps, count=count, lora_bytes=size
    )


def words_of(row: HostedModel, ours: Mapping[str, Any]) -> dict[str, Any]:
    """Our words in the fields of the model's own input, over what the row fixes."""
    return {**row.fixed, **{row.fields[word]: value for word, value in ours.items() if word in row.fields}}
