"""Train the transformer with both text encoders: rectified flow on cached latents; resumable.

    python transformer.py --work DIR --minutes 70

Reads ``latents.pt`` (``dataset.py``) of the same folder; the encoder that made it must not change afterwards.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import FluxTransformer2DModel
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel

from autoencoder import join, keep, share_gradients
from vocabulary import CLIP_WORDS, T5_WORDS, TOKENS

SILENT = ("norm.linear", "norm1.linear", "norm1_context.linear")
"""FLUX starts its modulations (and its last layer) at nothing; small models learn faster that way too."""
AVERAGE = 0.998


def new_models() -> nn.ModuleDict:
    """The structure: 5.2 million parameters in the transformer, 0.7 in the text encoders."""
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        num_layers=2,
        num_single_layers=4,
        attention_head_dim=32,
        num_attention_heads=6,
        joint_attention_dim=128,
        pooled_projection_dim=128,
        guidance_embeds=False,
        axes_dims_rope=(8, 12, 12),
    )
    clip = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=CLIP_WORDS,
            hidden_size=128,
            intermediate_size=256,
            projection_dim=128,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )
    t5 = T5EncoderModel(
        T5Config(
            vocab_size=T5_WORDS,
            d_model=128,
            d_kv=32,
            d_ff=320,
            num_layers=2,
            num_heads=4,
            dropout_rate=0.0,
            feed_forward_proj="gated-gelu",
            pad_token_id=0,
            eos_token_id=1,
            decoder_start_token_id=0,
        )
    )
    for name, module in transformer.named_modules():
        if isinstance(module, nn.Linear) and (name.endswith(SILENT) or name in ("norm_out.linear", "proj_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return nn.ModuleDict({"transformer": transformer, "clip": clip, "t5": t5})


def pack(latents: torch.Tensor) -> torch.Tensor:
    """[n, 16, 16, 16] into 64 tokens of 64 numbers, as FLUX packs them."""
    n, c, h, w = latents.shape
    folded = latents.view(n, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5)
    return folded.reshape(n, h * w // 4, c * 4)


def positions(side: int = 8) -> torch.Tensor:
    """The (0, row, column) of each token, [side * side, 3]."""
    ids = torch.zeros(side, side, 3)
    ids[..., 1], ids[..., 2] = torch.arange(side)[:, None], torch.arange(side)[None, :]
    return ids.view(-1, 3)


def velocity(
    models: nn.ModuleDict, x: torch.Tensor, t: torch.Tensor, clip: torch.Tensor, t5: torch.Tensor
) -> torch.Tensor:
    """The velocity [n, 64, 64] of noisy tokens at times t in 0..1."""
    return models["transformer"](
        hidden_states=x,
        timestep=t,
        pooled_projections=models["clip"](clip).pooler_output,
        encoder_hidden_states=models["t5"](t5)[0],
        img_ids=positions(),
        txt_ids=torch.zeros(TOKENS, 3),
        return_dict=False,
    )[0]


def optimizers(models: nn.ModuleDict, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for all else: embeddings, ends, norms, biases."""
    inner = {
        id(p)
        for name, p in models["transformer"].named_parameters()
        if p.ndim == 2 and "transformer_blocks" in name and "norm" not in name
    }
    matrices = [p for p in models.parameters() if id(p) in inner]
    others = [p for p in models.parameters() if id(p) not in inner]
    return [
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True),
    ]


def cooled(step: int, done: float) -> float:
    """The share of the learning rate: warm up over 150 steps, hold for 35 % of the time, then fall as a cosine."""
    falling = 1.0 if done < 0.35 else 0.5 * (1 + math.cos(math.pi * (done - 0.35) / 0.65)) * 0.99 + 0.01
    return min(1.0, (step + 1) / 150) * falling


class Batches:
    """Noisy latents, times, texts and the velocity to learn; a process takes every picture once before any again."""

    def __init__(self, data: dict[str, torch.Tensor], size: int, seed: int) -> None:
        self.data, self.size = data, size
        self.chance = torch.Generator().manual_seed(seed)
        self.order = torch.empty(0, dtype=torch.long)

    def next(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        data, size, chance = self.data, self.size, self.chance
        if len(self.order) < size:
            self.order = torch.randperm(len(data["latents"]), generator=chance)
        chosen, self.order = self.order[:size], self.order[size:]
        x0 = pack((data["latents"][chosen].float() - data["mean"]) / data["std"])
        clip, t5 = data["clip"][chosen].long(), data["t5"][chosen].long()
        silent = torch.rand(size, generator=chance) < 0.1
        clip[silent], t5[silent] = data["clip"][-1].long(), data["t5"][-1].long()
        t = torch.sigmoid(torch.randn(size, generator=chance) + 0.2)
        noise = torch.randn(x0.shape, generator=chance)
        return torch.lerp(x0, noise, t[:, None, None]), t, clip, t5, noise - x0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=70, help="in all, resumed runs included")
    parser.add_argument("--batch", type=int, default=24, help="pictures a process and step")
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--processes", type=int, default=2, help="of one thread each; faster than threads")
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    torch.multiprocessing.start_processes(
        train, (arguments, time.time()), nprocs=arguments.processes, start_method="fork"
    )


def train(rank: int, arguments: argparse.Namespace, began: float) -> None:
    """One process's share of the training; the first one keeps the checkpoints."""
    join(rank, arguments, began)
    torch.manual_seed(0)
    data = torch.load(arguments.work / "latents.pt", weights_only=True)
    models, state = new_models(), arguments.work / "transformer.pt"
    learners = optimizers(models, arguments.rate)
    step, spent = 0, 0.0
    if state.exists():
        kept = torch.load(state, weights_only=True)
        models.load_state_dict(kept["model"])
        for learner, own in zip(learners, kept["optimizers"], strict=True):
            learner.load_state_dict(own)
        average, step, spent = kept["average"], kept["step"], kept["spent"]
    else:
        average = {name: value.clone() for name, value in models.state_dict().items()}
    flow = velocity if arguments.no_compile else torch.compile(velocity)
    batches = Batches(data, arguments.batch, 1000 + 2 * step + rank)
    learned = [p for p in models.parameters() if p.requires_grad]
    first, losses, saved = spent, [], time.time()
    while spent < arguments.minutes:
        rate = arguments.rate * cooled(step, spent / arguments.minutes)
        for group in (group for learner in learners for group in learner.param_groups):
            group["lr"] = rate
        noisy, t, clip, t5, wanted = batches.next()
        loss = functional.mse_loss(flow(models, noisy, t, clip, t5), wanted)
        models.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(learned)
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        for learner in learners:
            learner.step()
        clock = torch.tensor([(time.time() - began) / 60])
        dist.broadcast(clock, 0)
        step, spent = step + 1, first + clock.item()
        losses.append(loss.item())
        if rank > 0:
            continue
        with torch.no_grad():
            live = models.state_dict()
            names = [name for name, value in average.items() if value.is_floating_point()]
            share = max(1 - AVERAGE, 1 / (step + 1))
            torch._foreach_lerp_([average[name] for name in names], [live[name] for name in names], share)
        if step % 50 == 0:
            print(f"step {step} loss {np.mean(losses[-50:]):.4f} rate {rate:.2e} {spent:.1f} min", flush=True)
        if time.time() - saved > 120 or spent >= arguments.minutes:
            saved = time.time()
            own = [learner.state_dict() for learner in learners]
            keep(state, {"model": live, "average": average, "optimizers": own, "step": step, "spent": spent})


if __name__ == "__main__":
    main()
