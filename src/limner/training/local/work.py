"""What the training process does: encode the dataset once, free the encoders, train, draw samples, write the lora."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from limner.atomic_file import atomic_file
from limner.errors import WorkFailed
from limner.flux.adapter import Adapter, layer_shapes
from limner.flux.batches import TrainingPicture, encode_dataset
from limner.flux.checkpoint import Checkpoints
from limner.flux.families import family_of
from limner.flux.family import Conditioning, match_modules
from limner.flux.loading import load_pipeline, load_transformer, pick_device, pick_dtype
from limner.flux.loop import is_due, train, write_lora
from limner.flux.sampling import draw_encoded
from limner.training.local.progress_log import Log
from limner.training.local.run_directory import RunDirectory
from limner.training.recipe import Recipe, from_mapping, validate
from limner.types import Base, Family

__all__ = ["train_order"]

_CHECKPOINT_PARAMETERS = 1_000_000_000


def train_order(run: RunDirectory, log: Log, should_stop: Callable[[], bool]) -> None:
    """Train the order of a run directory to its end, going on from its newest checkpoint."""
    order = json.loads(run.order.read_text(encoding="utf-8"))
    base = Base(**{**order["base"], "family": Family(order["base"]["family"])})
    recipe = validate(from_mapping(order["recipe"]), base)
    pictures = read_dataset(run.dataset)
    device = pick_device(order["device"])
    dtype = pick_dtype(recipe.precision, device)
    family = family_of(base)
    use_cores()

    log.phase("loading the base")
    # the big transformer is loaded when the text encoders are gone
    pipeline = load_pipeline(order["base_path"], base, device=device, dtype=dtype, transformer=None)
    log.phase("encoding photos and captions")
    data = encode_dataset(family, pipeline, base, pictures, device=device, dtype=dtype)
    prompts = [family.encode_text(pipeline, prompt, base) for prompt in order["sample_prompts"]]
    free_encoders(pipeline, keep_decoder=bool(prompts))
    whole = load_transformer(pipeline, order["base_path"], base, device=device, dtype=dtype)

    shapes = layer_shapes(
        match_modules(family, whole, recipe.target_layers), recipe.rank, recipe.alpha, recipe.layer_ranks
    )
    adapter = Adapter(whole, shapes, seed=recipe.seed)
    if sum(p.numel() for p in whole.parameters()) > _CHECKPOINT_PARAMETERS:
        whole.enable_gradient_checkpointing()
    metadata = {**order["metadata"], "lora_adapter_metadata": adapter.metadata()}
    checkpoints = Checkpoints(run.checkpoints, order["digest"], metadata)

    def draw_samples(step: int, folder: Path) -> None:
        if not prompts or not (step == recipe.steps or is_due(step, recipe.sample_every)):
            return
        with adapter.holding(load_file(folder / "weights.safetensors")):
            draw_all(run.samples / f"step-{step:06d}", pipeline, base, prompts, data.text_batch([0]), recipe)

    log.phase("training")
    tensors = train(
        family,
        adapter,
        data,
        recipe,
        checkpoints,
        on_step=log.step,
        on_checkpoint=draw_samples,
        should_stop=should_stop,
    )
    write_lora(run.weights, tensors, dtype, metadata)


def read_dataset(folder: Path) -> list[TrainingPicture]:
    """The pictures of ``dataset.jsonl``. WorkFailed: it is missing, damaged, or names a file that is not there."""
    try:
        lines = (folder / "dataset.jsonl").read_text(encoding="utf-8").splitlines()
        rows: list[Mapping[str, Any]] = [json.loads(line) for line in lines if line.strip()]
        pictures = [TrainingPicture(folder / row["file"], row["caption"]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as failure:
        raise WorkFailed(
            f"The training's dataset folder {folder} cannot be read: {failure}.",
            remedy="Write the frozen dataset there again and resume.",
            thing=str(folder),
        ) from failure
    missing = [picture.path.name for picture in pictures if not picture.path.is_file()]
    if missing or not pictures:
        raise WorkFailed(
            f"The training's dataset folder lacks {', '.join(missing[:5]) or 'all pictures'}.",
            remedy="Write the frozen dataset there again and resume.",
            thing=str(folder),
        )
    return pictures


def use_cores() -> None:
    """One thread a physical core, which is fastest for this work, unless OMP_NUM_THREADS says otherwise."""
    if "OMP_NUM_THREADS" in os.environ:
        return
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))
    cores = set()
    for number in allowed:
        siblings = Path(f"/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list")
        cores.add(siblings.read_text() if siblings.is_file() else str(number))
    torch.set_num_threads(max(1, len(cores)))


def free_encoders(pipeline: Any, *, keep_decoder: bool) -> None:
    """Drop what training needs no more: the text encoders, and the VAE where no samples are drawn."""
    for name in ("text_encoder", "text_encoder_2", *(() if keep_decoder else ("vae",))):
        if getattr(pipeline, name, None) is not None:
            setattr(pipeline, name, None)
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def draw_all(
    stem: Path, pipeline: Any, base: Base, texts: list[Conditioning], empty: Conditioning, recipe: Recipe
) -> None:
    """Draw one sample a prompt, prompt i with seed + i; a file is there whole or not at all."""
    stem.parent.mkdir(exist_ok=True)
    for index, text in enumerate(texts):
        target = stem.with_name(f"{stem.name}-{index}.png")
        if target.exists():
            continue
        with torch.inference_mode():
            picture = draw_encoded(
                pipeline,
                base,
                text,
                empty,
                width=recipe.resolution,
                height=recipe.resolution,
                steps=base.steps,
                guidance=base.guidance,
                seed=recipe.seed + index,
            )
        with atomic_file(target, durable=False) as file:
            picture.save(file, format="PNG")
