"""Make what the transformer learns from, once: pictures with captions, then their latents and token numbers.

python dataset.py --work DIR --photos DIR --draw     pictures.npy, captions.json
python dataset.py --work DIR --encode                latents.pt; needs the trained encoder (autoencoder.pt)
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from autoencoder import keep, load_average, new_autoencoder, to_tensor
from pictures import KEPT_BACK, PHOTO_WORDS, drawn, photo_crops
from vocabulary import TOKENS, clip_tokenizer, t5_tokenizer

DRAWN, PHOTOS = 16_000, 1_000


def draw_all(work: Path, photos: Path) -> None:
    """Drawings first, then photo crops of every subject but the one that is kept back."""
    pictures, words = drawn(DRAWN)
    subjects = [name for name in PHOTO_WORDS if name != KEPT_BACK]
    more, more_words = photo_crops(photos, PHOTOS, seed=7, closest=0.75, subjects=subjects)
    np.save(work / "pictures.npy", np.concatenate([pictures, more]))
    (work / "captions.json").write_text(json.dumps(words + more_words), encoding="utf-8")


def encode_part(work: Path, start: int, stop: int) -> torch.Tensor:
    """The latents (the mean, not a sample) of some of the pictures."""
    torch.set_num_threads(1)
    pictures = np.load(work / "pictures.npy", mmap_mode="r")
    vae = new_autoencoder()
    load_average(vae, work)
    vae = vae.eval().to(memory_format=torch.channels_last)
    found = []
    for at in range(start, stop, 20):
        x = to_tensor(pictures[at : min(at + 20, stop)]).to(memory_format=torch.channels_last)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            found.append(vae.encode(x).latent_dist.mode().float().half().contiguous())
    return torch.cat(found)


def encode_all(work: Path, processes: int) -> None:
    """Latents, token numbers (the last row is the empty text's) and the latents' mean and spread."""
    words = json.loads((work / "captions.json").read_text(encoding="utf-8"))
    cuts = [round(i * len(words) / processes) for i in range(processes + 1)]
    with ProcessPoolExecutor(processes) as pool:
        parts = list(pool.map(encode_part, [work] * processes, cuts[:-1], cuts[1:]))
    latents = torch.cat(parts)
    options = {"padding": "max_length", "max_length": TOKENS, "truncation": True, "return_tensors": "pt"}
    sample = latents[:4000].float()
    data = {
        "latents": latents,
        "clip": clip_tokenizer()([*words, ""], **options).input_ids.short(),
        "t5": t5_tokenizer(work / "t5")([*words, ""], **options).input_ids.short(),
        "mean": sample.mean(),
        "std": sample.std(),
    }
    keep(work / "latents.pt", data)
    print(f"{len(latents)} latents, mean {data['mean']:.3f}, spread {data['std']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--draw", action="store_true")
    parser.add_argument("--encode", action="store_true")
    parser.add_argument("--processes", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.draw:
        draw_all(arguments.work, arguments.photos)
    if arguments.encode:
        encode_all(arguments.work, arguments.processes)


if __name__ == "__main__":
    main()
