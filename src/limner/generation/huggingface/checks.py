"""What Inference Providers can take of an order: sizes, steps, scales, and what is at main of the lora's repo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from limner.catalog.hosted import HostedModel
from limner.findings import refusal
from limner.generation.generator import GenerationOrder
from limner.types import Finding, LoraUse, Severity

if TYPE_CHECKING:
    from limner.vendors.huggingface.inference_providers import Standing

__all__ = ["main_problems", "row_problems"]


def main_problems(use: LoraUse, repo: Standing) -> Iterator[Finding]:
    """Whether what a provider would fetch is this lora."""
    weights = [path for path in repo.files if path.endswith(".safetensors") and "/" not in path]
    if not repo.public:
        message = f"The repo {repo.repo} is not open to everyone, so no provider can fetch {use.name}."
        mend = f"limner loras visibility {use.name} public, or another generator."
        yield Finding("lora-out-of-reach", Severity.REFUSAL, message, mend)
    elif len(weights) != 1:
        message = f"The repo {repo.repo} has {len(weights)} .safetensors files at its root; providers take exactly one."
        yield Finding("lora-ambiguous", Severity.REFUSAL, message, "Leave one there.")
    elif use.digest and repo.files[weights[0]] not in ("", use.digest):
        message = f"main of {repo.repo} holds other weights than {use.name}, and providers always take main."
        mend = f"Publish it again: limner publish {use.name} --hub huggingface --public"
        yield Finding("lora-moved", Severity.REFUSAL, message, mend)


def row_problems(order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
    """What the model's own limits forbid."""
    yield from _size_problems(order, row)
    if row.most_steps and order.steps > row.most_steps:
        message = f"{order.steps} steps are not possible: {row.model} takes up to {row.most_steps}."
        yield refusal("steps-out-of-range", message, f"{row.steps} are usual.")
    for name in order.extra:
        if name not in row.choices:
            known = ", ".join(row.choices) or "none"
            yield refusal("extra-unknown", f"{row.model} takes no parameter '{name}'.", f"It takes {known}.")
    for use in order.loras:
        if use.scale:
            yield from _lora_problems(use, row)


def _size_problems(order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
    sizes = list(row.size_names.values())
    if sizes:
        if (order.width, order.height) not in sizes:
            shape = order.width / order.height
            near = min(sizes, key=lambda size: abs(size[0] / size[1] - shape))
            message = f"The size {order.width}×{order.height} is not possible: {row.model} draws fixed sizes."
            yield refusal("size-not-possible", message, f"The nearest is {near[0]}×{near[1]}.")
        return
    lowest, highest, multiple = row.sizes
    for name, size in (("width", order.width), ("height", order.height)):
        if size % multiple or not lowest <= size <= highest:
            near_size = min(max(round(size / multiple) * multiple, lowest), highest)
            message = f"The {name} {size} is not possible: {row.model} draws {lowest} to {highest} pixels"
            yield refusal(f"{name}-not-possible", f"{message}, in multiples of {multiple}.", f"Use {near_size}.")


def _lora_problems(use: LoraUse, row: HostedModel) -> Iterator[Finding]:
    least, most = row.scales
    if not least <= use.scale <= most:
        message = f"The scale {use.scale:g} of {use.name} is not possible: {row.model} takes {least:g} to {most:g}."
        yield refusal("scale-out-of-range", message, "0.3 to 1.2 is usual.")
    if row.most_lora_bytes and use.byte_size > row.most_lora_bytes:
        message = f"{use.name} has {use.byte_size / 1e9:.1f} GB; {row.model} takes {row.most_lora_bytes / 1e9:.0f}."
        yield refusal("lora-too-large", message, "Train one of a lower rank.")
    if use.naming and row.namings and use.naming not in row.namings:
        message = f"The tensors of {use.name} are named as {use.naming} does; {row.model} may not read that."
        yield Finding("lora-naming", Severity.WARNING, message, "limner loras import converts it.")
