"""Put the trained parts together as a FLUX.1 pipeline in diffusers layout, in half precision.

python export.py --work DIR --out FOLDER
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, FluxPipeline

from autoencoder import load_average, new_autoencoder
from transformer import new_models
from vocabulary import clip_tokenizer, t5_tokenizer


def build(work: Path) -> FluxPipeline:
    """The pipeline from the newest checkpoints; parts that are not trained yet are random."""
    vae, models = new_autoencoder(), new_models()
    if (work / "autoencoder.pt").exists():
        load_average(vae, work)
    if (work / "transformer.pt").exists():
        models.load_state_dict(torch.load(work / "transformer.pt", weights_only=True)["average"])
    if (work / "latents.pt").exists():
        data = torch.load(work / "latents.pt", weights_only=True, mmap=True)
        vae.register_to_config(scaling_factor=1 / data["std"].item(), shift_factor=data["mean"].item())
    else:
        vae.register_to_config(scaling_factor=1.0, shift_factor=0.0)
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=1.5, use_dynamic_shifting=False),
        vae=vae,
        text_encoder=models["clip"],
        tokenizer=clip_tokenizer(),
        text_encoder_2=models["t5"],
        tokenizer_2=t5_tokenizer(work / "t5"),
        transformer=models["transformer"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    fresh = arguments.work / "export"
    shutil.rmtree(fresh, ignore_errors=True)
    build(arguments.work).to(torch.float16).save_pretrained(fresh, safe_serialization=True)
    for name in ("text_encoder", "text_encoder_2"):
        # Stored in half precision, but to be loaded in full where no dtype is named, as the other parts are.
        config = fresh / name / "config.json"
        config.write_text(config.read_text(encoding="utf-8").replace('"float16"', '"float32"'), encoding="utf-8")
    shutil.rmtree(arguments.out, ignore_errors=True)
    shutil.copytree(fresh, arguments.out)
    size = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
