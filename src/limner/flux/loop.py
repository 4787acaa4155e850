"""The training loop: flow matching on cached latents and texts. Read ``train`` from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from limner.errors import Cancelled, WorkFailed
from limner.flux.adapter import Adapter
from limner.flux.batches import EncodedDataset, Order
from limner.flux.checkpoint import Checkpoints
from limner.flux.family import FluxFamily
from limner.flux.randomness import draw_sigmas, generator
from limner.flux.safetensors_file import write_safetensors

__all__ = ["LoopSettings", "StepReport", "batch_loss", "is_due", "learning_rate_factor", "train", "write_lora"]


class LoopSettings(Protocol):
    """What the loop reads of a recipe; ``limner.training.recipe.Recipe`` has it all."""

    @property
    def learning_rate(self) -> float: ...
    @property
    def schedule(self) -> str: ...
    @property
    def warmup_steps(self) -> int: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def gradient_accumulation(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def caption_dropout(self) -> float: ...
    @property
    def timestep_sampling(self) -> str: ...
    @property
    def ema_decay(self) -> float: ...
    @property
    def checkpoint_every(self) -> int: ...
    @property
    def sample_every(self) -> int: ...
    @property
    def guidance(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def gradient_clip(self) -> float: ...


@dataclass(frozen=True, slots=True)
class StepReport:
    """One optimizer step that is done: its number from 1, loss, learning rate, and seconds it took."""

    step: int
    total: int
    loss: float
    learning_rate: float
    seconds: float


def train(
    family: FluxFamily,
    adapter: Adapter,
    data: EncodedDataset,
    recipe: LoopSettings,
    checkpoints: Checkpoints,
    *,
    on_step: Callable[[StepReport], None] = lambda *_: None,
    on_checkpoint: Callable[[int, Path], None] = lambda *_: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Tensor]:
    """Train from the newest checkpoint to the last step; gives the trained tensors by their name in a lora file.

    When ``should_stop`` says so a checkpoint is written and Cancelled raised. A loss that is no number: WorkFailed.
    """
    parameters = adapter.parameters()
    tensors = list(parameters.values())
    optimizer = torch.optim.AdamW(tensors, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)
    average = {name: p.detach().clone() for name, p in parameters.items()} if recipe.ema_decay else {}
    step = checkpoints.restore(parameters, optimizer, average)
    if step:
        # a crash may have come between the checkpoint and what is made of it
        on_checkpoint(step, checkpoints.folder_of(step))
    order = Order(data.grids, recipe.batch_size, recipe.seed)
    while step < recipe.steps:
        if should_stop():
            if step:
                checkpoints.save(step, parameters, optimizer, average)
            raise Cancelled(f"The training was stopped after {step} steps.", remedy="It can go on from there.")
        began = time.monotonic()
        rate = recipe.learning_rate * learning_rate_factor(recipe, step)
        optimizer.param_groups[0]["lr"] = rate
        loss = 0.0
        for part in range(recipe.gradient_accumulation):
            number = step * recipe.gradient_accumulation + part
            share = batch_loss(family, adapter.transformer, data, recipe, order.batch(number), number)
            (share / recipe.gradient_accumulation).backward()  # type: ignore[no-untyped-call]
            loss += share.item() / recipe.gradient_accumulation
        norm = torch.nn.utils.clip_grad_norm_(tensors, recipe.gradient_clip or math.inf)
        if not (math.isfinite(loss) and math.isfinite(norm.item())):
            raise WorkFailed(
                f"The loss is no longer a number at step {step + 1}.",
                remedy="Train again with a smaller learning rate; checkpoints before this step are good.",
                thing=f"step {step + 1}",
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step += 1
        if average:
            torch._foreach_lerp_(list(average.values()), [p.detach() for p in tensors], 1 - recipe.ema_decay)
        on_step(StepReport(step, recipe.steps, loss, rate, time.monotonic() - began))
        if step == recipe.steps or is_due(step, recipe.checkpoint_every) or is_due(step, recipe.sample_every):
            on_checkpoint(step, checkpoints.save(step, parameters, optimizer, average))
    return average or {name: parameter.detach() for name, parameter in parameters.items()}


def batch_loss(
    family: FluxFamily, transformer: Any, data: EncodedDataset, recipe: LoopSettings, rows: list[int], number: int
) -> Tensor:
    """The flow-matching loss of one batch: mean squared error of the velocity. All its chance comes from ``number``.

    Noise is drawn and mixed in on the CPU in float32, so every device and number format trains on the same pictures.
    """
    chance = generator(recipe.seed, "step", number)
    grid = data.grids[rows[0]]
    clean = torch.stack([data.pictures[row] for row in rows])
    sigma = draw_sigmas(recipe.timestep_sampling, len(rows), clean.shape[1], chance)
    noise = torch.randn(clean.shape, generator=chance)
    dropped = torch.rand(len(rows), generator=chance) < recipe.caption_dropout
    texts = data.text_batch(
        [0 if drop else data.text_rows[row] for row, drop in zip(rows, dropped.tolist(), strict=True)]
    )
    noisy = torch.lerp(clean, noise, sigma[:, None, None]).to(data.device, data.dtype)
    predicted = family.velocity(transformer, noisy, grid, sigma.to(data.device), texts, recipe.guidance)
    return torch.nn.functional.mse_loss(predicted.float(), (noise - clean).to(data.device))


def is_due(step: int, every: int) -> bool:
    """Whether something done every so many steps is due; 0 is never."""
    return every > 0 and step % every == 0


def learning_rate_factor(recipe: LoopSettings, step: int) -> float:
    """What the learning rate is multiplied with at a step counted from 0."""
    if step < recipe.warmup_steps:
        return (step + 1) / (recipe.warmup_steps + 1)
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    if recipe.schedule == "linear":
        return 1 - done
    if recipe.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1.0


def write_lora(path: Path, tensors: dict[str, Tensor], dtype: torch.dtype, metadata: dict[str, str]) -> None:
    """Write trained tensors as a lora file."""
    write_safetensors(path, {name: tensor.to(dtype) for name, tensor in tensors.items()}, metadata)
