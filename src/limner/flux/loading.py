"""Loading a FLUX pipeline in diffusers layout: device, number format, and clear errors when it is not one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from limner.errors import NotReady
from limner.flux.families import family_of
from limner.types import Base

__all__ = ["load_pipeline", "load_transformer", "pick_device", "pick_dtype"]


def pick_device(wanted: str = "auto") -> str:
    """``auto`` becomes cuda, mps or cpu, the first that this machine has; a device that is not there: NotReady."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return next(name for name, present in there.items() if present)
    if not there.get(wanted.split(":", 1)[0], False):
        raise NotReady(
            f"The device '{wanted}' is not available to torch {torch.__version__}.",
            remedy="Set LIMNER_DEVICE to auto or cpu, or install the torch build for this device.",
            thing=wanted,
        )
    return wanted


def pick_dtype(precision: str, device: str) -> torch.dtype:
    """``auto`` is bfloat16 on a GPU and float32 on a CPU (where bfloat16 was measured slower)."""
    if precision == "auto":
        return torch.float32 if device == "cpu" else torch.bfloat16
    return {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]


def load_pipeline(
    path: str, base: Base, *, device: str = "cpu", dtype: torch.dtype = torch.float32, **parts: Any
) -> Any:
    """Load a pipeline from a folder in diffusers layout or a Hub repo id, in evaluation mode and without gradients.

    ``parts`` replaces components, as diffusers does: ``transformer=None`` leaves the transformer out.
    NotReady says why when it cannot be loaded or is of another family than the base.
    """
    import diffusers
    import transformers

    diffusers.utils.logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    _check_folder(path, base)
    with _explained(path, base):
        pipeline = diffusers.DiffusionPipeline.from_pretrained(path, dtype=dtype, **parts)
    kinds = family_of(base).pipelines
    if type(pipeline).__name__ not in kinds:
        raise NotReady(
            f"{path} holds a {type(pipeline).__name__}, but base '{base.id}' is of the family {base.family.value}.",
            remedy=f"It takes one of: {', '.join(kinds)}.",
            thing=base.id,
        )
    pipeline.set_progress_bar_config(disable=True)
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.requires_grad_(False).eval()
    return pipeline.to(device)


def load_transformer(pipeline: Any, path: str, base: Base, *, device: str, dtype: torch.dtype) -> Any:
    """Load the transformer that ``load_pipeline`` left out, frozen, and give it to the pipeline too."""
    import diffusers

    kind = "FluxTransformer2DModel" if type(pipeline).__name__ == "FluxPipeline" else "Flux2Transformer2DModel"
    with _explained(path, base):
        transformer = getattr(diffusers, kind).from_pretrained(path, subfolder="transformer", dtype=dtype)
    pipeline.transformer = transformer.requires_grad_(False).eval().to(device)
    return pipeline.transformer


@contextmanager
def _explained(path: str, base: Base) -> Iterator[None]:
    """Make a NotReady of whatever goes wrong while a part is loaded; out of memory is another matter and stays."""
    try:
        yield
    except (ImportError, OSError, ValueError, KeyError, RuntimeError, AttributeError, TypeError) as failure:
        reason = " ".join(str(failure).split())[:300]
        if "out of memory" in reason or "can't allocate memory" in reason:
            raise
        remedy = "Check that the folder is complete, or set another one in base_paths."
        if base.gated and not Path(path).is_dir():
            remedy = f"This base is gated: accept its terms at https://huggingface.co/{base.repo} and set HF_TOKEN."
        raise NotReady(
            f"The base '{base.id}' cannot be loaded from {path}: {reason}", remedy=remedy, thing=base.id
        ) from failure


def _check_folder(path: str, base: Base) -> None:
    """Refuse a path that is clearly no pipeline before torch reads anything."""
    folder = Path(path)
    if not folder.is_dir():
        if folder.is_absolute():
            raise NotReady(
                f"The folder {path} of base '{base.id}' does not exist.",
                remedy="Download the base, or correct base_paths.",
                thing=base.id,
            )
        return
    try:
        index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
        name = index["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise NotReady(
            f"The folder {path} of base '{base.id}' holds no readable model_index.json.",
            remedy="Point to a pipeline in diffusers layout.",
            thing=base.id,
        ) from failure
    if name not in family_of(base).pipelines:
        raise NotReady(
            f"{path} holds a {name}, but base '{base.id}' is of the family {base.family.value}.",
            remedy=f"It takes one of: {', '.join(family_of(base).pipelines)}.",
            thing=base.id,
        )
