"""What Inference Providers can take of an order: further parameters, and what is at main of the lora's repo."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from limner.catalog.hosted import HostedModel
from limner.findings import refusal
from limner.generation.generator import GenerationOrder
from limner.types import Finding, LoraUse, Severity

if TYPE_CHECKING:
    from limner.vendors.huggingface.inference_providers import Standing

__all__ = ["extra_problems", "main_problems"]


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


def extra_problems(order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
    """Further parameters that the model does not take."""
    for name in order.extra:
        if name not in row.choices:
            known = ", ".join(row.choices) or "none"
            yield refusal("extra-unknown", f"{row.model} takes no parameter '{name}'.", f"It takes {known}.")
