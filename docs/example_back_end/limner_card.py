"""A generator in one file: writes the prompt on a card whose colour is made from the seed. Needs no model."""

from __future__ import annotations

import io
import time
from collections.abc import AsyncIterator, Sequence

from PIL import Image, ImageDraw

from limner.generation.generator import Drawn, GenerationOrder
from limner.settings import Settings
from limner.types import BackEnd, Estimate, Finding, Plan, Severity


class CardGenerator:
    """Fulfils ``limner.generation.generator.Generator``; no base class is needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def describe(self) -> BackEnd:
        summary = "Writes the prompt on a coloured card."
        return BackEnd("card", "Card", summary, bases=("limner-tiny",), limits={"loras": 0})

    def check(self, order: GenerationOrder) -> Sequence[Finding]:
        if order.loras:
            message = "The card generator knows no loras."
            return [Finding("too-many-loras", Severity.REFUSAL, message, "Leave them out.")]
        return []

    def estimate(self, order: GenerationOrder) -> Estimate:
        return Estimate(note=f"{order.count} cards cost nothing.")

    async def plan(self, order: GenerationOrder) -> Plan:
        return Plan("card", "card", (), self.estimate(order), tuple(self.check(order)))

    async def draw(self, order: GenerationOrder) -> AsyncIterator[Drawn]:
        for index in range(order.count):
            if index in order.done:  # stored before a crash: never drawn, or paid for, a second time
                continue
            began, seed = time.monotonic(), order.seed + index
            colour = (seed * 47 % 256, seed * 89 % 256, seed * 151 % 256)
            card = Image.new("RGB", (order.width, order.height), colour)
            ImageDraw.Draw(card).text((8, 8), order.prompt, "white" if sum(colour) < 384 else "black")
            data = io.BytesIO()
            card.save(data, "PNG")
            yield Drawn(index, seed, data.getvalue(), "image/png", time.monotonic() - began)
