"""The local trainer beside diffusers' train_dreambooth_lora_flux.py: samples a second and peak memory.

    python benchmarks/trainer.py [--peer CHECKOUT_OR_SCRIPT] [--pipeline FOLDER] [--photos FOLDER]

Both train the same pipeline folder on the same pictures with the same rank, layers, resolution, batch size, precision
and threads, each in a process of its own. Each is run twice, for few and for many steps: the difference is the loop,
without start-up. Memory is the peak of the longer run. Without --peer our figures are printed alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps

from limner.catalog import find_base
from limner.settings import Settings
from limner.training.local.trainer import LocalTrainer
from limner.training.recipe import Recipe
from limner.training.trainer import TrainingOrder
from limner.types import Crop, DatasetItem, DatasetManifest, SubjectFacts, SubjectKind

HERE = Path(__file__).parent
CAPTION = "a photo of john_doe"

OURS = """
import sys
from pathlib import Path
from limner.training.local.child import Log
from limner.training.local.run import RunDirectory
from limner.training.local.work import train_order
run = RunDirectory(Path(sys.argv[1]))
train_order(run, Log(run), lambda: False)
"""

# transformers must have looked for torchvision before the stand-in is there, or it takes it for the real one
PEER = """
import runpy, sys
import accelerate, diffusers, peft, transformers
from diffusers import AutoencoderKL, FluxPipeline, FluxTransformer2DModel
from transformers import CLIPTextModel, CLIPTokenizer, T5EncoderModel, T5TokenizerFast
try:
    import torchvision
except ImportError:
    sys.path.insert(0, sys.argv.pop(1))
else:
    sys.argv.pop(1)
sys.argv.pop(0)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Figures:
    """What one trainer reached: pictures trained a second, peak resident memory in MB, seconds before the loop."""

    samples_a_second: float
    peak_megabytes: float
    start_seconds: float


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peer", type=Path, help="a checkout of diffusers, or its training script")
    options.add_argument("--pipeline", type=Path, help="a FLUX.1 pipeline folder; default: the shipped limner-tiny")
    options.add_argument("--photos", type=Path, help="a folder of JPEGs; default: the shipped ones")
    options.add_argument("--resolution", type=int, default=128)
    options.add_argument("--batch-size", type=int, action="append", help="may be given several times; default 4, 10")
    options.add_argument("--rank", type=int, default=8)
    options.add_argument("--steps", type=int, default=40, help="steps of the longer run")
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    chosen = options.parse_args()
    package = HERE.parent / "src" / "limner"
    pipeline = (chosen.pipeline or package / "flux" / "tiny").absolute()
    name = pipeline.name
    source = chosen.photos or package / "demo" / "photos"
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pipeline = with_long_clip(pipeline, work / "pipeline")
        pictures = render(source, work / "pictures", chosen.resolution)
        print(f"{name}, {len(pictures)} pictures at {chosen.resolution} px, rank {chosen.rank},", end=" ")
        print(f"attention and feed-forward, fp32, {chosen.threads} threads")
        for batch_size in chosen.batch_size or [4, 10]:
            setting = Setting(
                pipeline, pictures, chosen.resolution, batch_size, chosen.rank, chosen.steps, chosen.threads
            )
            ours = measure(setting, work / f"ours-{batch_size}", our_command)
            report(f"limner, batch {batch_size}", ours)
            if chosen.peer is None:
                continue
            script = chosen.peer
            if script.is_dir():
                script = script / "examples" / "dreambooth" / "train_dreambooth_lora_flux.py"
            for extra in ([], ["--cache_latents"]):
                theirs = measure(setting, work / f"peer-{batch_size}{len(extra)}", peer_command(script, extra))
                report(f"peer {' '.join(extra)}", theirs)
                faster = ours.samples_a_second / theirs.samples_a_second
                memory = ours.peak_megabytes / theirs.peak_megabytes
                print(f"    limner is {faster:.2f} x as fast, with {memory:.2f} x the memory")
        if chosen.peer is None:
            print("No --peer given: these are our figures alone.")


@dataclass(frozen=True)
class Setting:
    """What both trainers are given."""

    pipeline: Path
    pictures: list[Path]
    resolution: int
    batch_size: int
    rank: int
    steps: int
    threads: int


def with_long_clip(pipeline: Path, target: Path) -> Path:
    """The pipeline, or a copy whose CLIP has the 77 positions that the peer takes for granted; both sides get it."""
    from torch.nn import Embedding
    from transformers import CLIPTextModel, logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    clip = CLIPTextModel.from_pretrained(pipeline / "text_encoder")
    positions = clip.config.max_position_embeddings
    if positions >= 77:
        return pipeline
    shutil.copytree(pipeline, target)
    embeddings = next(module for module in clip.modules() if hasattr(module, "position_embedding"))
    rows = torch.arange(77) % positions
    embeddings.position_embedding = Embedding.from_pretrained(embeddings.position_embedding.weight[rows].detach())
    clip.config.max_position_embeddings = 77
    clip.save_pretrained(target / "text_encoder")
    return target


def render(source: Path, target: Path, size: int) -> list[Path]:
    """Square pictures of one size, so that neither side crops or resizes; ten at most."""
    target.mkdir(parents=True)
    photos = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png"}][:10]
    if not photos:
        raise SystemExit(f"no photo in {source}")
    for number, photo in enumerate(photos):
        with Image.open(photo) as image:
            ImageOps.fit(ImageOps.exif_transpose(image).convert("RGB"), (size, size)).save(target / f"{number}.png")
    return sorted(target.iterdir())


def measure(setting: Setting, work: Path, command: object) -> Figures:
    """Run for a quarter of the steps and for all of them."""
    few = max(1, setting.steps // 4)
    short, _ = timed(command(setting, work / "short", few), setting.threads)  # type: ignore[operator]
    long, peak = timed(command(setting, work / "long", setting.steps), setting.threads)  # type: ignore[operator]
    step = (long - short) / (setting.steps - few)
    return Figures(setting.batch_size / step, peak, short - few * step)


def timed(command: list[str], threads: int) -> tuple[float, float]:
    """Seconds and peak megabytes of a command that must succeed."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with tempfile.TemporaryFile() as output:
        began = time.monotonic()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise SystemExit(output.read().decode(errors="replace")[-3000:])
    # kilobytes on Linux, bytes on macOS
    return seconds, usage.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def our_command(setting: Setting, work: Path, steps: int) -> list[str]:
    """The training process of the local trainer, on a run directory as the pipeline writes it."""
    (work / "dataset").mkdir(parents=True)
    size = setting.resolution
    rows = [
        {"file": str(path), "caption": CAPTION, "width": size, "height": size, "photo": path.name}
        for path in setting.pictures
    ]
    (work / "dataset" / "dataset.jsonl").write_text("\n".join(map(json.dumps, rows)))
    crop = Crop(0, 0, size, size)
    items = tuple(DatasetItem(p.name, "image/png", size, size, CAPTION, crop, (size, size)) for p in setting.pictures)
    subject = SubjectFacts("john-doe", "John", SubjectKind.PERSON, "person", "john_doe")
    recipe = Recipe(
        "limner-tiny",
        rank=setting.rank,
        alpha=float(setting.rank),
        steps=steps,
        batch_size=setting.batch_size,
        resolution=size,
        target_layers="diffusers-default",
        checkpoint_every=0,
        sample_every=0,
        precision="fp32",
    )
    order = TrainingOrder(
        id="bench",
        run_directory=work,
        manifest=DatasetManifest("0" * 64, subject, size, items),
        photo_path=Path,
        recipe=recipe,
        base=find_base("limner-tiny"),
        base_path=str(setting.pipeline),
    )
    LocalTrainer(Settings(device="cpu")).prepare(order)
    return [sys.executable, "-c", OURS, str(work)]


def peer_command(script: Path, extra: list[str]) -> object:
    """A maker of the peer's command line with these extra options."""

    def command(setting: Setting, work: Path, steps: int) -> list[str]:
        given = {
            "pretrained_model_name_or_path": setting.pipeline,
            "instance_data_dir": setting.pictures[0].parent,
            "instance_prompt": CAPTION,
            "output_dir": work / "out",
            "resolution": setting.resolution,
            "train_batch_size": setting.batch_size,
            "max_train_steps": steps,
            "rank": setting.rank,
            "max_sequence_length": find_base("limner-tiny").max_text_tokens,
            "guidance_scale": 1,
            "lr_scheduler": "constant",
            "checkpointing_steps": 10**6,
            "mixed_precision": "no",
            "logging_dir": "logs",
        }
        work.mkdir(parents=True)
        options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        return [sys.executable, "-c", PEER, str(HERE / "stand_in"), str(script.absolute()), *options, *extra]

    return command


def report(name: str, figures: Figures) -> None:
    print(
        f"  {name:24s} {figures.samples_a_second:7.1f} samples/s  {figures.peak_megabytes:6.0f} MB peak  "
        f"{figures.start_seconds:5.1f} s before the loop"
    )


if __name__ == "__main__":
    main()
