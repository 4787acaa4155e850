"""Measure a pipeline in diffusers layout and draw a sheet of it, on characters and captions that it was not trained on.

    python measure.py --pipeline FOLDER --photos DIR --sheet sheet.png

Loads it with diffusers' own FluxPipeline. Prints what survives the autoencoder (peak signal-to-noise ratio, dB) and
the flow's loss on held-out pictures (mean squared error of the velocity; a model that knows nothing has about 2).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random

import torch
from diffusers import FluxPipeline
from PIL import Image
from torch.nn import functional

from autoencoder import psnr, to_tensor
from captions import caption
from characters import draw_character, random_character, random_situation
from pictures import KEPT_BACK, drawn, photo_crops
from transformer import pack, positions
from vocabulary import TOKENS

HELD_OUT = 20_000_000
COLUMNS, SIDE, GAP = 8, 192, 6


def flow_loss(pipeline: FluxPipeline, count: int = 96) -> float:
    """The mean squared error of the velocity over held-out drawings, at times spread evenly."""
    pictures, words = drawn(count, first=HELD_OUT + 1000)
    chance = torch.Generator().manual_seed(0)
    config = pipeline.vae.config
    with torch.no_grad():
        latents = pipeline.vae.encode(to_tensor(pictures)).latent_dist.mode()
        x0 = pack((latents - config.shift_factor) * config.scaling_factor)
        noise = torch.randn(x0.shape, generator=chance)
        t = (torch.arange(count) + 0.5) / count
        text, pooled, ids = pipeline.encode_prompt(words, None, max_sequence_length=TOKENS)
        made = pipeline.transformer(
            hidden_states=torch.lerp(x0, noise, t[:, None, None]),
            timestep=t,
            pooled_projections=pooled,
            encoder_hidden_states=text,
            img_ids=positions(),
            txt_ids=ids,
            return_dict=False,
        )[0]
    return functional.mse_loss(made, noise - x0).item()


def sheet(pipeline: FluxPipeline, rows: int = 3) -> tuple[Image.Image, list[str]]:
    """Pairs of rows: held-out drawings, and below them what the pipeline draws from their captions."""
    count = COLUMNS * rows
    true, words = [], []
    for number in range(count):
        chance = Random(HELD_OUT + 5000 + number)
        who, what = random_character(chance), random_situation(chance)
        true.append(draw_character(who, what, SIDE))
        words.append(caption(who, what, chance, keep=1.0))
    made = pipeline(
        words,
        height=128,
        width=128,
        num_inference_steps=20,
        guidance_scale=1.0,
        max_sequence_length=TOKENS,
        generator=[torch.Generator().manual_seed(number) for number in range(count)],
    ).images
    step = SIDE + GAP
    paper = Image.new("RGB", (COLUMNS * step - GAP, 2 * rows * step - GAP), "white")
    for number, (drawing, picture) in enumerate(zip(true, made, strict=True)):
        row, column = divmod(number, COLUMNS)
        paper.paste(drawing, (column * step, 2 * row * step))
        paper.paste(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS), (column * step, (2 * row + 1) * step))
    return paper, words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pipeline", type=Path, required=True)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--sheet", type=Path)
    arguments = parser.parse_args()
    pipeline = FluxPipeline.from_pretrained(arguments.pipeline, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.vae.to(memory_format=torch.channels_last)
    held_photos = photo_crops(arguments.photos, 32, seed=99)[0]
    kept_back = photo_crops(arguments.photos, 32, seed=99, subjects=[KEPT_BACK])[0]
    print(f"autoencoder, drawings: {psnr(pipeline.vae, drawn(32, first=HELD_OUT)[0]):.2f} dB")
    print(f"autoencoder, photos: {psnr(pipeline.vae, held_photos):.2f} dB")
    print(f"autoencoder, photos of the {KEPT_BACK}: {psnr(pipeline.vae, kept_back):.2f} dB")
    print(f"flow loss: {flow_loss(pipeline):.4f}")
    if arguments.sheet:
        paper, words = sheet(pipeline)
        paper.save(arguments.sheet)
        print("\n".join(words))


if __name__ == "__main__":
    main()
