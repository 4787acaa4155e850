"""Checks on an order that hold for every generator that takes all of a base's settings: size, steps, prompt, loras."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from limner.catalog import bases
from limner.errors import AccountRefused, LimnerError, VendorRefused
from limner.findings import refusal
from limner.generation.generator import GenerationOrder
from limner.generation.prompts import missing_triggers
from limner.types import Base, Family, Finding, LoraUse, Severity

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["LONGEST_PROMPT", "MOST_STEPS", "check_order", "count_tokens", "vendor_error"]

LONGEST_PROMPT = 20_000  # characters
MOST_STEPS = 200
_MOST_GUIDANCE = 30.0
_WILD_SCALE, _USELESS_SCALE = 2.0, 10.0


def check_order(order: GenerationOrder, *, most_loras: int) -> list[Finding]:
    """What would make the order fail (refusals), or give other pictures than expected (warnings). Reads no model."""
    return [
        *_prompt(order),
        *_size(order),
        *_sampling(order),
        *(finding for use in order.loras for finding in _lora(use, order.base)),
        *_loras(order, most_loras),
    ]


def count_tokens(text: str, base: Base, base_path: str) -> int | None:
    """How many tokens the base's text encoder makes of a text; None where its tokenizer is not on this machine."""
    folder = "tokenizer_2" if base.family is Family.FLUX1 else "tokenizer"
    path = _local_file(base_path, f"{folder}/tokenizer.json")
    if path is None or find_spec("tokenizers") is None:
        return None
    try:
        return len(_tokenizer(path).encode(text).ids)
    except Exception:  # the library raises nothing narrower for a damaged file; loading the base tells of it
        return None


def _warn(code: str, message: str, remedy: str) -> Finding:
    return Finding(code, Severity.WARNING, message, remedy)


def _prompt(order: GenerationOrder) -> Iterator[Finding]:
    if not order.prompt.strip():
        yield refusal("prompt-empty", "The prompt is empty.", "Say what the picture shows.")
        return
    if len(order.prompt) > LONGEST_PROMPT:
        message = f"The prompt has {len(order.prompt):,} characters; {LONGEST_PROMPT:,} are the most."
        yield refusal("prompt-too-long", message, "Shorten it.")
        return
    try:
        order.prompt.encode("utf-8")
    except UnicodeEncodeError:
        yield refusal("prompt-not-text", "The prompt holds half characters that are no text.", "Type it anew.")
        return
    tokens = count_tokens(order.prompt, order.base, order.base_path)
    most = order.base.max_text_tokens
    if tokens is not None and tokens > most:
        message = f"The prompt has {tokens} tokens, and {order.base.id} reads the first {most}."
        yield _warn("prompt-cut", message, "Shorten it, or put what matters first.")
    yield from missing_triggers(order.prompt, order.loras)


def _size(order: GenerationOrder) -> Iterator[Finding]:
    base = order.base
    for name, size in (("width", order.width), ("height", order.height)):
        near = round(size / base.size_multiple) * base.size_multiple
        near = min(max(near, base.size_min), base.size_max)
        if size % base.size_multiple or not base.size_min <= size <= base.size_max:
            yield refusal(
                f"{name}-not-possible",
                f"The {name} {size} is not possible: {base.id} draws {base.size_min} to {base.size_max} pixels, "
                f"in multiples of {base.size_multiple}.",
                f"The nearest is {near}.",
            )


def _sampling(order: GenerationOrder) -> Iterator[Finding]:
    if not 1 <= order.steps <= MOST_STEPS:
        message = f"{order.steps} steps are not possible: 1 to {MOST_STEPS} are."
        yield refusal("steps-out-of-range", message, f"{order.base.id} takes {order.base.steps} by default.")
    if not math.isfinite(order.guidance) or not 0 <= order.guidance <= _MOST_GUIDANCE:
        message = f"The guidance {order.guidance:g} is not possible: 0 to {_MOST_GUIDANCE:g} is."
        yield refusal("guidance-out-of-range", message, f"{order.base.id} takes {order.base.guidance:g} by default.")
    if order.count < 1:
        yield refusal("count-out-of-range", f"{order.count} pictures cannot be drawn.", "Ask for one or more.")
    if not 0 <= order.seed <= 2**63 - max(order.count, 1):
        message = f"The seed {order.seed} is not possible: the seeds of all pictures lie between 0 and 2^63 - 1."
        yield refusal("seed-out-of-range", message, "Use a smaller number, or leave it out for a random one.")


def _loras(order: GenerationOrder, most: int) -> Iterator[Finding]:
    if len(order.loras) > most:
        message = f"{len(order.loras)} loras are too many: this generator takes {most} at once."
        yield refusal("too-many-loras", message, "Leave some out.")
    digests = [use.digest for use in order.loras]
    for use in {use.digest: use for use in order.loras if digests.count(use.digest) > 1}.values():
        yield refusal("lora-twice", f"The lora {use.name} is named twice.", "Name it once, with the sum of the scales.")


def _lora(use: LoraUse, base: Base) -> Iterator[Finding]:
    if not math.isfinite(use.scale) or abs(use.scale) > _USELESS_SCALE:
        message = f"The scale {use.scale:g} of {use.name} is not possible."
        yield refusal("scale-out-of-range", message, f"Use {-_USELESS_SCALE:g} to {_USELESS_SCALE:g}; 1 is as trained.")
    elif use.scale == 0:
        yield _warn("scale-zero", f"The scale 0 of {use.name} switches it off.", "1 is as trained.")
    elif not 0 < use.scale <= _WILD_SCALE:
        message = f"The scale {use.scale:g} of {use.name} is far from what it was trained for."
        yield _warn("scale-wild", message, "0.3 to 1.2 is usual.")
    own = bases().get(use.base)
    if not use.base:
        message = f"{use.name} does not say which base it belongs to."
        yield _warn("lora-base-unknown", message, f"If it does not fit {base.id}, drawing is refused.")
    elif use.base != base.id:
        if own is None or own.family is not base.family or not _built_alike(own, base):
            message = f"The lora {use.name} belongs to {use.base} and does not fit {base.id}."
            yield refusal("lora-does-not-fit", message, f"Draw with {use.base}, or train a lora for {base.id}.")
        else:
            message = f"The lora {use.name} was trained on {use.base}; {base.id} is built alike, but is another model."
            yield _warn("lora-of-sibling", message, f"Draw with {use.base} if it looks wrong.")


def _built_alike(one: Base, other: Base) -> bool:
    return all(size == other.shape.get(name, size) for name, size in one.shape.items())


def _local_file(base_path: str, name: str) -> Path | None:
    """A file of a base that is already here: in its folder, or in the Hub's cache. No network."""
    if Path(base_path).is_dir():
        path = Path(base_path) / name
        return path if path.is_file() else None
    if Path(base_path).is_absolute():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(base_path, name)
    return Path(found) if isinstance(found, str) else None


@lru_cache(maxsize=4)
def _tokenizer(path: Path) -> Tokenizer:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(path))
    # the file may say that texts are cut or filled up to a length, which would hide the count
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def vendor_error(problem: Finding, vendor: str) -> LimnerError:
    """What a vendor's own answer stands in the way with, as an error: the account, or the request."""
    kind = AccountRefused if problem.code == "account" else VendorRefused
    return kind(problem.message, remedy=problem.remedy, thing=vendor)
