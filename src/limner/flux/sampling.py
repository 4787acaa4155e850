"""Drawing pictures: reproducible by seed, one at a time, with any number of loras mounted and unmounted cleanly."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from limner.errors import LoraRefused
from limner.flux.families import family_of
from limner.flux.family import Conditioning
from limner.flux.loading import load_pipeline, pick_device, pick_dtype
from limner.types import Base

__all__ = ["draw", "draw_encoded", "encode_prompt", "forget_pipeline", "kept_pipeline", "mount_loras"]

_lock = threading.RLock()
_kept: dict[tuple[str, str], Any] = {}

Mounted = tuple[tuple[str, int, int, float], ...]


def kept_pipeline(path: str, base: Base, *, device: str = "auto") -> Any:
    """The pipeline at that path, kept until another one is asked for: only one is ever in memory."""
    device = pick_device(device)
    key = (path, device)
    with _lock:
        if key not in _kept:
            _kept.clear()
            _kept[key] = load_pipeline(path, base, device=device, dtype=pick_dtype("auto", device))
        return _kept[key]


def forget_pipeline() -> None:
    """Free the kept pipeline."""
    with _lock:
        _kept.clear()


def draw(
    pipeline: Any,
    base: Base,
    prompt: str,
    *,
    width: int,
    height: int,
    steps: int,
    guidance: float,
    seed: int,
    loras: Sequence[tuple[Path, float]] = (),
) -> Any:
    """Draw one picture; gives a PIL image of mode RGB.

    The same arguments give the same pixels on one machine, whatever was drawn before. Loras are (file, scale) in
    diffusers naming, with what they change of CLIP-L (T5's parts are not used), and stay mounted for the next picture
    that wants the same. LoraRefused: one does not fit.
    """
    with _lock, torch.inference_mode():
        mount_loras(pipeline, loras)
        text, empty = encode_prompt(pipeline, base, prompt, guidance)
        return draw_encoded(
            pipeline, base, text, empty, width=width, height=height, steps=steps, guidance=guidance, seed=seed
        )


def encode_prompt(pipeline: Any, base: Base, prompt: str, guidance: float) -> tuple[Conditioning, Conditioning | None]:
    """A prompt as the transformer takes it, and the empty text where drawing at this guidance needs it."""
    family = family_of(base)
    needed = family.wants_empty_text(pipeline, guidance)
    empty = family.encode_text(pipeline, "", base) if needed else None
    return family.encode_text(pipeline, prompt, base), empty


def draw_encoded(
    pipeline: Any,
    base: Base,
    text: Conditioning,
    empty: Conditioning | None,
    *,
    width: int,
    height: int,
    steps: int,
    guidance: float,
    seed: int,
) -> Any:
    """Draw one picture from texts already encoded, with whatever is mounted; needs no text encoder."""
    chance = torch.Generator().manual_seed(seed)
    return family_of(base).draw(
        pipeline,
        text,
        empty,
        width=width,
        height=height,
        steps=steps,
        guidance=guidance,
        generator=chance,
    )


def mount_loras(pipeline: Any, loras: Sequence[tuple[Path, float]]) -> None:
    """Mount exactly these loras, (file, scale), on a pipeline; none leaves the base as it was loaded."""
    wanted: Mounted = tuple(
        (str(path), path.stat().st_size, path.stat().st_mtime_ns, float(scale)) for path, scale in loras
    )
    if getattr(pipeline, "_limner_mounted", ()) == wanted:
        return
    if getattr(pipeline, "_limner_mounted", ()):
        pipeline.unload_lora_weights()
        pipeline._limner_mounted = ()
    names = [f"lora{index}" for index in range(len(loras))]
    try:
        for name, (path, _) in zip(names, loras, strict=True):
            _load(pipeline, path, name)
        if names:
            pipeline.set_adapters(names, [scale for _, scale in loras])
    except BaseException:
        pipeline.unload_lora_weights()
        raise
    pipeline._limner_mounted = wanted


def _load(pipeline: Any, path: Path, name: str) -> None:
    try:
        pipeline.load_lora_weights(str(path), adapter_name=name)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as failure:
        reason = " ".join(str(failure).split())[:300]
        raise LoraRefused(
            f"The lora {path.name} does not fit {type(pipeline).__name__}: {reason}",
            remedy="Use it on the base that it was trained on.",
            thing=path.name,
        ) from failure
    mounted = {adapter for adapters in pipeline.get_list_adapters().values() for adapter in adapters}
    if name not in mounted:
        # diffusers only warns here, and would then draw the base's picture
        raise LoraRefused(
            f"The lora {path.name} holds no layer of {type(pipeline).__name__}.",
            remedy="Convert it to diffusers naming first, or use it on its own base.",
            thing=path.name,
        )
