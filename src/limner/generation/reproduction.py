"""Reproducing: the order that draws a picture again, from the record that it carries."""

from __future__ import annotations

from collections.abc import Sequence

from limner.errors import Conflict
from limner.generation.generator import GenerationOrder
from limner.types import Base, ImageRecord, LoraUse

__all__ = ["order_from_record"]


def order_from_record(
    record: ImageRecord, *, order_id: str, base: Base, base_path: str, loras: Sequence[LoraUse] = ()
) -> GenerationOrder:
    """The order for the one picture of a record; ``loras`` are the same files as found here, in the record's order.

    Conflict: the base or a lora is not the one that the picture was made with.
    """
    if base.id != record.base:
        raise Conflict(
            f"The picture was made with the base '{record.base}', not '{base.id}'.",
            remedy="Reproduce it with its own base.",
            thing=record.base,
        )
    if [use.digest for use in loras] != [use.digest for use in record.loras]:
        wanted = ", ".join(f"{use.name} ({use.digest[:12]})" for use in record.loras) or "none"
        raise Conflict(
            f"These are not the loras that the picture was made with: {wanted}.",
            remedy="Give the files of these digests, in this order.",
            thing="loras",
        )
    return GenerationOrder(
        id=order_id,
        prompt=record.prompt,
        base=base,
        base_path=base_path,
        loras=tuple(loras),
        width=record.width,
        height=record.height,
        steps=record.steps,
        guidance=record.guidance,
        seed=record.seed,
    )
