"""Train the transformer with both text encoders: rectified flow on cached latents; resumable.

    python transformer.py --work DIR --photos DIR --minutes 70

Reads ``autoencoder.pt`` of the same folder; its encoder must not change afterwards.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from autoencoder import new_autoencoder
from diffusers import FluxTransformer2DModel
from pictures import drawn, photo_crops
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, T5Config, T5EncoderModel
from vocabulary import TOKENS, clip_tokenizer, t5_tokenizer

DRAWN, PHOTOS = 24_000, 1_200


def new_models() -> nn.ModuleDict:
    """The structure: 5.2 million parameters in the transformer, 0.6 in the text encoders."""
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
            vocab_size=900,
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
            vocab_size=320,
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


def prepare(work: Path, photos: Path) -> dict[str, torch.Tensor]:
    """Latents and token ids of all pictures, made once; and the latents' mean and spread."""
    path = work / "latents.pt"
    if path.exists():
        return torch.load(path, weights_only=True)
    vae = new_autoencoder()
    vae.load_state_dict(torch.load(work / "autoencoder.pt", weights_only=True)["average"])
    vae = vae.eval().to(memory_format=torch.channels_last)
    pictures, words = drawn(DRAWN)
    more, more_words = photo_crops(photos, PHOTOS, seed=7)
    found = []
    for part in (pictures, more):
        for start in range(0, len(part), 100):
            x = torch.from_numpy(part[start : start + 100]).permute(0, 3, 1, 2).float().div(127.5).sub(1)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                found.append(vae.encode(x.contiguous(memory_format=torch.channels_last)).latent_dist.mode().half())
    latents = torch.cat(found).contiguous()
    words += more_words
    clip, t5 = clip_tokenizer(), t5_tokenizer(work / "t5")
    options = {"padding": "max_length", "max_length": TOKENS, "truncation": True, "return_tensors": "pt"}
    sample = latents[:4000].float()
    data = {
        "latents": latents,
        "clip": clip([*words, ""], **options).input_ids.short(),
        "t5": t5([*words, ""], **options).input_ids.short(),
        "mean": sample.mean(),
        "std": sample.std(),
    }
    torch.save(data, path)
    return data


def forward(models: nn.ModuleDict, x: torch.Tensor, t: torch.Tensor, clip: torch.Tensor, t5: torch.Tensor) -> torch.Tensor:
    """The velocity [n, 64, 64] of noisy tokens at times t in 0..1."""
    pooled = models["clip"](clip.long()).pooler_output
    text = models["t5"](t5.long())[0]
    return models["transformer"](
        hidden_states=x,
        timestep=t,
        pooled_projections=pooled,
        encoder_hidden_states=text,
        img_ids=positions(),
        txt_ids=torch.zeros(TOKENS, 3),
        return_dict=False,
    )[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--no-compile", action="store_true")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    data = prepare(arguments.work, arguments.photos)
    latents, mean, std = data["latents"], data["mean"], data["std"]
    blank_clip, blank_t5 = data["clip"][-1], data["t5"][-1]
    models = new_models()
    # FLUX starts its modulations and last layer at nothing, which speeds up small models too.
    for name, module in models["transformer"].named_modules():
        if isinstance(module, nn.Linear) and (name.endswith(("norm.linear", "norm1.linear", "norm1_context.linear")) or name in ("norm_out.linear", "proj_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    state = arguments.work / "transformer.pt"
    step, spent = 0, 0.0
    optimizer = torch.optim.AdamW(models.parameters(), lr=arguments.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    if state.exists():
        kept = torch.load(state, weights_only=True)
        models.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        average, step, spent = kept["average"], kept["step"], kept["spent"]
    else:
        average = {k: v.clone() for k, v in models.state_dict().items()}
    velocity = forward if arguments.no_compile else torch.compile(forward)
    generator = torch.Generator().manual_seed(1000 + step)
    first, losses = spent, []
    began = saved = time.time()
    count = len(latents)
    while True:
        spent = first + (time.time() - began) / 60
        done = spent / arguments.minutes
        if done >= 1:
            break
        rate = arguments.rate * min(1, (step + 1) / 150) * (1 if done < 0.35 else 0.5 * (1 + math.cos(math.pi * (done - 0.35) / 0.65)) * 0.99 + 0.01)
        for group in optimizer.param_groups:
            group["lr"] = rate
        chosen = torch.randint(0, count, (arguments.batch,), generator=generator)
        x0 = pack((latents[chosen].float() - mean) / std)
        clip, t5 = data["clip"][chosen].clone(), data["t5"][chosen].clone()
        dropped = torch.rand(arguments.batch, generator=generator) < 0.1
        clip[dropped], t5[dropped] = blank_clip, blank_t5
        t = torch.sigmoid(torch.randn(arguments.batch, generator=generator) * 1.0 + 0.2)
        noise = torch.randn(x0.shape, generator=generator)
        noisy = (1 - t)[:, None, None] * x0 + t[:, None, None] * noise
        loss = F.mse_loss(velocity(models, noisy, t, clip, t5), noise - x0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(models.parameters(), 1.0)
        optimizer.step()
        step += 1
        losses.append(loss.item())
        keep = min(0.998, 1 - 1 / (step + 1))
        with torch.no_grad():
            live = models.state_dict()
            torch._foreach_lerp_(
                [v for v in average.values() if v.is_floating_point()],
                [live[k] for k, v in average.items() if v.is_floating_point()],
                1 - keep,
            )
        if step % 100 == 0:
            print(f"step {step} loss {np.mean(losses[-100:]):.4f} rate {rate:.2e} {spent:.1f} min", flush=True)
        if time.time() - saved > 120:
            saved = time.time()
            keep_state(state, models, average, optimizer, step, spent)
    keep_state(state, models, average, optimizer, step, spent)


def keep_state(state: Path, models: nn.ModuleDict, average: dict, optimizer: torch.optim.Optimizer, step: int, spent: float) -> None:
    """Write the checkpoint, whole or not at all."""
    partial = state.with_suffix(".partial")
    torch.save(
        {"model": models.state_dict(), "average": average, "optimizer": optimizer.state_dict(), "step": step, "spent": spent},
        partial,
    )
    os.replace(partial, state)


if __name__ == "__main__":
    main()
