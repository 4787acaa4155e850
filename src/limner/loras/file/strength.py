"""The strength of an adapter: alpha / rank, and where a file says it.

A tensor ``.alpha`` beside the weights, else the header's ``lora_adapter_metadata`` (diffusers: JSON of PEFT
LoraConfigs with keys prefixed ``transformer.`` and ``text_encoder.``), else PEFT's ``adapter_config.json`` beside the
file, else alpha is the rank. Few programs read the header, fewer the other file: see ``conversion``.

sd-scripts' ``split_qkv`` trains q, k and v (and the MLP) of a fused layer apart, each with the rank and alpha of its
options, and saves them as one of n times that rank with the alpha of one: the strength of that file is n times what
alpha / rank says. Its header tells, and nothing else does.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from limner.errors import LoraRefused

__all__ = [
    "ADAPTER_KEY",
    "TEXT_ENCODER",
    "TRANSFORMER",
    "DeclaredStrength",
    "adapter_header",
    "config_header",
    "declared_strength",
    "plain_number",
    "split_ranks",
]

ADAPTER_KEY = "lora_adapter_metadata"
TRANSFORMER, TEXT_ENCODER = "transformer.", "text_encoder."
# newer readers know CLIP's layers without it
_TEXT_MODEL = re.compile(r"^\^?(?:text_model\\?\.)?")
_PATTERN = re.compile(r"[\w.\\^$]+")


@dataclass(frozen=True, slots=True)
class DeclaredStrength:
    """What ``lora_adapter_metadata`` says; ranks and alphas by module, the common one where a module is not named."""

    rank: int
    alpha: float
    ranks: Mapping[str, int]
    alphas: Mapping[str, float]
    root_scaled: bool = False
    dora: bool = False

    def rank_of(self, module: str) -> int:
        """The rank that the header gives a module, by its diffusers path."""
        return int(self._of(self.ranks, module, self.rank))

    def alpha_of(self, module: str, rank: int) -> float:
        """Alpha such that alpha / rank is the strength, also where the header asks for alpha / sqrt(rank)."""
        alpha = float(self._of(self.alphas, module, self.alpha))
        return alpha * math.sqrt(rank) if self.root_scaled else alpha

    @staticmethod
    def _of(patterns: Mapping[str, float], module: str, common: float) -> float:
        # PEFT matches a pattern against the whole end of a path; the first that fits counts
        for pattern, value in patterns.items():
            literal = pattern.removeprefix("^").removesuffix("$").replace("\\.", ".")
            if module == literal or (not pattern.startswith("^") and module.endswith("." + literal)):
                return value
        return common


def declared_strength(metadata: Mapping[str, str], component: str = TRANSFORMER) -> DeclaredStrength | None:
    """Read ``lora_adapter_metadata`` of a component; None where a file has none, LoraRefused where it cannot be read.

    Layers of the text encoder are named without ``text_model.``.
    """
    text = metadata.get(ADAPTER_KEY)
    if text is None:
        return None
    try:
        config: dict[str, Any] = json.loads(text)
        own = {key.removeprefix(component): value for key, value in config.items() if key.startswith(component)}
        if not own:
            return None
        ranks, alphas = own.get("rank_pattern") or {}, own.get("alpha_pattern") or {}
        if not all(_PATTERN.fullmatch(name) for name in (*ranks, *alphas)):
            raise ValueError("a pattern in it is more than a module's name")
        if component == TEXT_ENCODER:
            ranks, alphas = ({_TEXT_MODEL.sub("", name): n for name, n in each.items()} for each in (ranks, alphas))
        rank = _positive_int(own.get("r", 8))
        found = DeclaredStrength(
            rank,
            _finite(own.get("lora_alpha", 8)),
            {name: _positive_int(value) for name, value in ranks.items()},
            {name: _finite(value) for name, value in alphas.items()},
            bool(own.get("use_rslora", False)),
            bool(own.get("use_dora", False)),
        )
    except (ValueError, TypeError, AttributeError, RecursionError, OverflowError) as failure:
        reason = " ".join(str(failure).split())[:120]
        raise LoraRefused(
            f"The header's {ADAPTER_KEY}, which gives the strength, cannot be read: {reason}.",
            remedy="Export the LoRA again.",
        ) from failure
    return found


def config_header(text: str) -> str:
    """``lora_adapter_metadata`` for what an ``adapter_config.json`` says. ValueError: it is none of a LoRA."""
    try:
        config = json.loads(text)
    except RecursionError as failure:
        raise ValueError("it is nested too deeply") from failure
    if not isinstance(config, dict) or "r" not in config or config.get("peft_type", "LORA") != "LORA":
        raise ValueError("it describes no LoRA")
    kept = ("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora")
    return json.dumps({TRANSFORMER + key: config[key] for key in kept if key in config})


def split_ranks(metadata: Mapping[str, str]) -> frozenset[int]:
    """The ranks that sd-scripts' ``split_qkv`` gave to each part of a fused layer; empty if it did not split them."""
    try:
        args = json.loads(metadata.get("ss_network_args") or "{}")
    except (ValueError, RecursionError):
        return frozenset()
    if not isinstance(args, dict) or str(args.get("split_qkv")) != "True":
        return frozenset()
    ranks = [metadata.get("ss_network_dim"), *(args.get(f"{kind}_dim") for kind in ("single", "img_attn", "txt_attn"))]
    return frozenset(int(str(each)) for each in ranks if re.fullmatch(r"[1-9]\d{0,5}", str(each)))


def adapter_header(
    strengths: Mapping[str, tuple[int, float]], clip: Mapping[str, tuple[int, float]] | None = None
) -> str:
    """``lora_adapter_metadata`` for (rank, alpha) by diffusers path, in the form that diffusers itself writes.

    ``clip``: the same of CLIP-L's layers. Where one component is in it all must be, or readers take PEFT's defaults.
    """
    config = {TRANSFORMER + key: value for key, value in _config(strengths, _exactly).items()}
    if clip:
        # no ^, as some readers have text_model. before these paths
        config |= {TEXT_ENCODER + key: value for key, value in _config(clip, re.escape).items()}
    return json.dumps(config, sort_keys=True)


def _config(strengths: Mapping[str, tuple[int, float]], pattern: Callable[[str], str]) -> dict[str, object]:
    common, _ = min(Counter(strengths.values()).items(), key=lambda item: (-item[1], item[0]))
    return {
        "r": common[0],
        "lora_alpha": plain_number(common[1]),
        "rank_pattern": {pattern(n): r for n, (r, _) in sorted(strengths.items()) if r != common[0]},
        "alpha_pattern": {pattern(n): plain_number(a) for n, (_, a) in sorted(strengths.items()) if a != common[1]},
        "target_modules": sorted(strengths),
        "lora_dropout": 0.0,
        "bias": "none",
        "use_dora": False,
        "use_rslora": False,
        "init_lora_weights": True,
    }


def plain_number(value: float) -> float | int:
    """16.0 as 16, as people and PEFT write it."""
    return int(value) if float(value).is_integer() else float(value)


def _exactly(name: str) -> str:
    # ^ keeps PEFT from matching the end of a longer path
    return "^" + name.replace(".", r"\.") + "$"


def _positive_int(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError(f"{value!r} is no rank")
    return value


def _finite(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no alpha")
    return float(value)
