"""Train the autoencoder: drawn characters and crops of real photos, from scratch; resumable.

    python autoencoder.py --work DIR --photos DIR --minutes 30

It learns from 64 px crops, and is convolutional, so that it serves any size.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL
from torch.nn import functional

from pictures import drawn, photo_crops

CROP = 64
NOISE = 0.08
"""How much noise the decoder must bear; the latents stay near unit size because they are drawn towards nothing."""


def new_autoencoder() -> AutoencoderKL:
    """The structure: 8x smaller, 16 channels, 3.2 million parameters."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(16, 48, 96, 128),
        layers_per_block=1,
        latent_channels=16,
        norm_num_groups=8,
        sample_size=128,
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        force_upcast=False,
    )


def pool(work: Path, photos: Path) -> np.ndarray:
    """The pictures to crop from, made once: 5,000 drawings and 2,500 photo crops, uint8 [n, 128, 128, 3]."""
    path = work / "pool.npy"
    if not path.exists():
        both = np.concatenate([drawn(5000, first=10_000_000)[0], photo_crops(photos, 2500)[0]])
        np.save(path, both)
    return np.load(path, mmap_mode="r")


def batch_of(pictures: np.ndarray, size: int, chance: np.random.Generator) -> torch.Tensor:
    """Random crops as float [n, 3, CROP, CROP] in -1..1; one third from photos, with their colours varied."""
    out = np.empty((size, CROP, CROP, 3), np.uint8)
    for i in range(size):
        number = chance.integers(5000, len(pictures)) if i % 3 == 0 else chance.integers(0, 5000)
        top, left = chance.integers(0, 128 - CROP + 1, 2)
        crop = pictures[number, top : top + CROP, left : left + CROP]
        out[i] = crop[:, ::-1] if chance.random() < 0.5 else crop
    x = to_tensor(out)
    gain = torch.from_numpy(chance.uniform(0.8, 1.15, (len(x[::3]), 3, 1, 1))).float()
    x[::3] = ((x[::3] + 1) * gain - 1).clamp(-1, 1)
    return x.to(memory_format=torch.channels_last)


def to_tensor(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [n, h, w, 3] as float [n, 3, h, w] in -1..1."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)


def picture_loss(made: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """L1 and squared error, with the differences between neighbours (what blur loses) weighed in."""
    loss = functional.l1_loss(made, true) + 2 * functional.mse_loss(made, true)
    loss = loss + 0.7 * functional.l1_loss(made[..., 1:] - made[..., :-1], true[..., 1:] - true[..., :-1])
    return loss + 0.7 * functional.l1_loss(made[..., 1:, :] - made[..., :-1, :], true[..., 1:, :] - true[..., :-1, :])


def psnr(vae: AutoencoderKL, pictures: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB over whole 128 px pictures."""
    x = to_tensor(pictures).to(memory_format=torch.channels_last)
    with torch.no_grad():
        made = vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1)
    return 10 * math.log10(4 / functional.mse_loss(made, x).item())


def keep(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint, whole or not at all."""
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def load_average(vae: AutoencoderKL, work: Path) -> None:
    """The newest averaged weights."""
    vae.load_state_dict(torch.load(work / "autoencoder.pt", weights_only=True)["average"])


def join(rank: int, arguments: argparse.Namespace, began: float) -> None:
    """Meet the other processes of this training; each works with one thread."""
    torch.set_num_threads(1)
    meeting = dist.FileStore(str(arguments.work / f"meeting-{began:.0f}"), arguments.processes)
    dist.init_process_group("gloo", store=meeting, rank=rank, world_size=arguments.processes)


def share_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Average the gradients over all processes."""
    flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    start = 0
    for p in parameters:
        if p.grad is not None:
            p.grad.copy_(flat[start : start + p.numel()].view_as(p))
            start += p.numel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=30, help="in all, resumed runs included")
    parser.add_argument("--batch", type=int, default=12, help="pictures a process and step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--processes", type=int, default=2, help="of one thread each; faster than threads")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    pool(arguments.work, arguments.photos)
    torch.multiprocessing.start_processes(
        train, (arguments, time.time()), nprocs=arguments.processes, start_method="fork"
    )


def train(rank: int, arguments: argparse.Namespace, began: float) -> None:
    """One process's share of the training; the first one keeps the checkpoints."""
    join(rank, arguments, began)
    torch.manual_seed(0)
    vae = new_autoencoder().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=arguments.rate, betas=(0.9, 0.98), weight_decay=1e-4, fused=True)
    state, step, spent = arguments.work / "autoencoder.pt", 0, 0.0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        vae.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        average, step, spent = kept["average"], kept["step"], kept["spent"]
    else:
        average = {name: value.clone() for name, value in vae.state_dict().items()}
    pictures = pool(arguments.work, arguments.photos)
    held, held_photos = drawn(32, first=20_000_000)[0], photo_crops(arguments.photos, 32, seed=99)[0]
    chance = np.random.default_rng([step + 1, rank])
    torch.manual_seed(1000 * step + rank)
    learned = [p for p in vae.parameters() if p.requires_grad]
    first, losses = spent, []
    saved = time.time()
    while spent < arguments.minutes:
        done = spent / arguments.minutes
        cooling = 1.0 if done < 0.4 else 0.5 * (1 + math.cos(math.pi * (done - 0.4) / 0.6)) * 0.98 + 0.02
        for group in optimizer.param_groups:
            group["lr"] = arguments.rate * min(1, (step + 1) / 100) * cooling
        x = batch_of(pictures, arguments.batch, chance)
        with torch.autocast("cpu", torch.bfloat16):
            mean, log_variance = vae.encoder(x).float().chunk(2, 1)
            # No noise at first: a decoder that cannot read the latents yet would learn to overlook them.
            noise = NOISE * min(1, max(0, (step - 800) / 800))
            made = vae.decoder(mean + noise * torch.randn_like(mean))
        small = mean.square().mean() + 0.01 * (log_variance - 2 * math.log(NOISE)).square().mean()
        loss = picture_loss(made.float(), x)
        optimizer.zero_grad(set_to_none=True)
        (loss + 1e-3 * small).backward()
        share_gradients(learned)
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        clock = torch.tensor([(time.time() - began) / 60])
        dist.broadcast(clock, 0)
        step, spent = step + 1, first + clock.item()
        losses.append(loss.item())
        if rank > 0:
            continue
        with torch.no_grad():
            for name, value in vae.state_dict().items():
                average[name].lerp_(value, max(0.004, 1 / (step + 1)))
        if time.time() - saved > 120 or spent >= arguments.minutes or step in (100, 300):
            saved = time.time()
            live = {name: value.clone() for name, value in vae.state_dict().items()}
            own = optimizer.state_dict()
            keep(state, {"model": live, "average": average, "optimizer": own, "step": step, "spent": spent})
            vae.load_state_dict(average)
            print(
                f"step {step} loss {np.mean(losses[-100:]):.4f} latents {mean.std().item():.2f} "
                f"drawings {psnr(vae, held):.2f} dB photos {psnr(vae, held_photos):.2f} dB {spent:.1f} min",
                flush=True,
            )
            vae.load_state_dict(live)


if __name__ == "__main__":
    main()
