"""The local trainer beside diffusers' train_dreambooth_lora_flux.py: samples a second and peak memory.

    python benchmarks/trainer.py [--peer CHECKOUT_OR_SCRIPT] [--pipeline FOLDER] [--photos FOLDER]

Both train the same pipeline folder on the same pictures with the same rank, layers, resolution, batch size, precision
and threads, each in a process of its own, in turns. One hook of torch notes in either process when each optimizer step
ended; the first steps are left out. Memory is the peak of the whole process. Without --peer only our figures are given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from PIL import Image, ImageOps

from limner.catalog import find_base
from limner.settings import Settings
from limner.training.local.trainer import LocalTrainer
from limner.training.recipe import Recipe
from limner.training.trainer import TrainingOrder
from limner.types import Crop, DatasetItem, DatasetManifest, SubjectFacts, SubjectKind

__all__ = ["Figures", "Pair", "Plan", "measure"]

HERE = Path(__file__).parent
SHIPPED = HERE.parent / "src" / "limner"
CAPTION = "a photo of john_doe"
SCRIPT = Path("examples") / "dreambooth" / "train_dreambooth_lora_flux.py"
WARM_UP = 5

# the same in both processes: wall and processor time at the end of each optimizer step, and peak memory
PROBE = """
import atexit, json, resource, sys, time
from pathlib import Path
from torch.optim.optimizer import register_optimizer_step_post_hook
started = time.monotonic()
target, ends = Path(sys.argv.pop(1)), []
register_optimizer_step_post_hook(lambda *_: ends.append((time.monotonic() - started, time.process_time())))
def peak():
    try:
        # a child of a large process begins with that process's peak in its resource usage
        return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
atexit.register(lambda: target.write_text(json.dumps({"ends": ends, "peak": peak()})))
"""

OURS = """
from limner.training.local.progress_log import Log
from limner.training.local.run_directory import RunDirectory
from limner.training.local.work import train_order
run = RunDirectory(Path(sys.argv[1]))
train_order(run, Log(run), lambda: False)
"""

# transformers must have looked for torchvision before the stand-in is there, or it takes it for the real one
PEER = """
import runpy
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
    """What one trainer reached, the median of its runs.

    Pictures a second, milliseconds of processor time a picture, peak resident memory in MB, seconds to the first step.
    """

    samples_a_second: float
    processor_milliseconds: float
    peak_megabytes: float
    start_seconds: float


@dataclass(frozen=True)
class Pair:
    """One setting: our figures, and the peer's by how it was run.

    ``faster`` is the median over paired runs of how many times as many samples a second we train; ``less_work`` the
    same for processor time, which other programs on the machine disturb less.
    """

    batch_size: int
    ours: Figures
    peers: dict[str, Figures]
    faster: dict[str, float]
    less_work: dict[str, float]

    def memory(self, peer: str) -> float:
        """Our peak memory as a part of the peer's."""
        return self.ours.peak_megabytes / self.peers[peer].peak_megabytes


@dataclass(frozen=True)
class Plan:
    """What both trainers are given, and how often."""

    pipeline: Path = SHIPPED / "flux" / "tiny"
    photos: Path = SHIPPED / "demo" / "photos"
    resolution: int = 128
    batch_sizes: tuple[int, ...] = (4, 10)
    rank: int = 8
    steps: int = 45
    rounds: int = 2
    threads: int = os.cpu_count() or 1


@dataclass(frozen=True)
class Setting:
    """One training of the benchmark."""

    pipeline: Path
    pictures: list[Path]
    batch_size: int
    plan: Plan


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--peer", type=Path, help="a checkout of diffusers, or its training script")
    options.add_argument("--pipeline", type=Path, default=Plan.pipeline, help="a FLUX.1 pipeline in diffusers layout")
    options.add_argument(
        "--photos", type=Path, default=Plan.photos, help="a folder of pictures, searched with all below"
    )
    options.add_argument("--resolution", type=int, default=Plan.resolution)
    options.add_argument("--batch-size", type=int, action="append", help="may be given several times; default 4, 10")
    options.add_argument("--rank", type=int, default=Plan.rank)
    options.add_argument("--steps", type=int, default=Plan.steps, help=f"steps of a run; {WARM_UP} are not counted")
    options.add_argument("--rounds", type=int, default=Plan.rounds, help="runs of each, in turns")
    options.add_argument("--threads", type=int, default=Plan.threads)
    given = options.parse_args()
    plan = Plan(
        given.pipeline,
        given.photos,
        given.resolution,
        tuple(given.batch_size or Plan.batch_sizes),
        given.rank,
        given.steps,
        given.rounds,
        given.threads,
    )
    print(
        f"{plan.pipeline.name}, {plan.resolution} px, rank {plan.rank}, attention and feed-forward, fp32, "
        f"{plan.threads} threads, {plan.rounds} runs of {plan.steps} steps"
    )
    for pair in measure(given.peer, plan):
        report(f"limner, batch {pair.batch_size}", pair.ours)
        for name, figures in pair.peers.items():
            report(name, figures)
            print(
                f"    limner is {pair.faster[name]:.2f} x as fast ({pair.less_work[name]:.2f} x by processor time),",
                end=" ",
            )
            print(f"with {pair.memory(name):.2f} x the memory")
    if given.peer is None:
        print("No --peer CHECKOUT_OF_DIFFUSERS given: these are our figures alone.")


def measure(peer: Path | None, plan: Plan | None = None) -> list[Pair]:
    """Train with us and, if a checkout or script of the peer is given, with it as it is and with cached latents."""
    plan = plan or Plan()
    makers: dict[str, Callable[[Setting, Path], list[str]]] = {"limner": our_command}
    if peer is not None:
        script = peer / SCRIPT if peer.is_dir() else peer
        if not script.is_file():
            raise SystemExit(f"No peer at {script}: give a checkout of diffusers, or its training script.")
        makers["as it is"] = peer_command(script, [])
        makers["with --cache_latents"] = peer_command(script, ["--cache_latents"])
    pairs = []
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        pipeline = with_long_clip(plan.pipeline.absolute(), work / "pipeline")
        for batch_size in plan.batch_sizes:
            # whole batches only: the peer would train a last smaller one, and a step would not be so many samples
            count = -(-10 // batch_size) * batch_size
            pictures = render(plan.photos, work / f"pictures-{batch_size}", plan.resolution, count)
            setting = Setting(pipeline, pictures, batch_size, plan)
            runs: dict[str, list[Figures]] = {name: [] for name in makers}
            for number in range(plan.rounds):
                for name, command in makers.items():
                    folder = work / f"{batch_size}-{number}-{len(runs)}-{name.replace(' ', '-')}"
                    folder.mkdir()
                    runs[name].append(timed(command(setting, folder), folder, setting))
            ours = runs.pop("limner")
            peers = {name: middle(theirs) for name, theirs in runs.items()}
            faster = {name: paired(theirs, ours, "samples_a_second") for name, theirs in runs.items()}
            less_work = {name: paired(ours, theirs, "processor_milliseconds") for name, theirs in runs.items()}
            pairs.append(Pair(batch_size, middle(ours), peers, faster, less_work))
    return pairs


def paired(below: Sequence[Figures], above: Sequence[Figures], figure: str) -> float:
    """The median of the quotients of a figure, run by run."""
    return statistics.median(getattr(a, figure) / getattr(b, figure) for a, b in zip(above, below, strict=True))


def middle(runs: Sequence[Figures]) -> Figures:
    """The median of each figure."""
    return Figures(*(statistics.median(getattr(run, field.name) for run in runs) for field in fields(Figures)))


def with_long_clip(pipeline: Path, target: Path) -> Path:
    """The pipeline, or a copy whose CLIP has the 77 positions that the peer takes for granted; both sides get it."""
    import torch
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


def render(source: Path, target: Path, size: int, count: int) -> list[Path]:
    """So many square pictures of one size, that neither side crops or resizes: where photos are few, other windows."""
    target.mkdir(parents=True)
    photos = [path for path in sorted(source.rglob("*")) if path.suffix.lower() in {".jpg", ".jpeg", ".png"}]
    if not photos:
        raise SystemExit(f"no photo in {source}")
    for number in range(count):
        turn, which = divmod(number, len(photos))
        place = (0.5, 0.0, 1.0, 0.25, 0.75)[turn % 5]
        with Image.open(photos[which]) as image:
            upright = ImageOps.exif_transpose(image).convert("RGB")
            ImageOps.fit(upright, (size, size), centering=(place, place)).save(target / f"{number:03}.png")
    return sorted(target.iterdir())


def timed(command: list[str], folder: Path, setting: Setting) -> Figures:
    """Run a training that must succeed, and read when its steps ended."""
    ends = folder / "ends.json"
    threads = str(setting.plan.threads)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-c", PROBE + command[0], str(ends), *command[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment)
    if done.returncode:
        raise SystemExit(done.stdout.decode(errors="replace")[-3000:])
    seen = json.loads(ends.read_text())
    steps = seen["ends"]
    if len(steps) != setting.plan.steps:
        raise SystemExit(f"{len(steps)} optimizer steps were seen, not {setting.plan.steps}: {command[4:]}")
    wall, processor = (steps[-1][kind] - steps[WARM_UP - 1][kind] for kind in (0, 1))
    samples = setting.batch_size * (len(steps) - WARM_UP)
    return Figures(samples / wall, 1000 * processor / samples, seen["peak"], steps[0][0])


def our_command(setting: Setting, work: Path) -> list[str]:
    """Code and arguments of the local trainer's training process, on a run directory as the pipeline writes it."""
    (work / "dataset").mkdir()
    size = setting.plan.resolution
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
        rank=setting.plan.rank,
        alpha=float(setting.plan.rank),
        steps=setting.plan.steps,
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
    return [OURS, str(work)]


def peer_command(script: Path, extra: list[str]) -> Callable[[Setting, Path], list[str]]:
    """A maker of code and arguments of the peer with these extra options."""

    def command(setting: Setting, work: Path) -> list[str]:
        given = {
            "pretrained_model_name_or_path": setting.pipeline,
            "instance_data_dir": setting.pictures[0].parent,
            "instance_prompt": CAPTION,
            "output_dir": work / "out",
            "resolution": setting.plan.resolution,
            "train_batch_size": setting.batch_size,
            "max_train_steps": setting.plan.steps,
            "rank": setting.plan.rank,
            "max_sequence_length": find_base("limner-tiny").max_text_tokens,
            "guidance_scale": 1,
            "lr_scheduler": "constant",
            "checkpointing_steps": 10**6,
            "mixed_precision": "no",
            "logging_dir": "logs",
        }
        options = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        return [PEER, str(HERE / "stand_in"), str(script.absolute()), *options, *extra]

    return command


def report(name: str, figures: Figures) -> None:
    speed = f"{figures.samples_a_second:7.1f} samples/s  {figures.processor_milliseconds:6.1f} ms of processor a sample"
    print(
        f"  {name:32s} {speed}  {figures.peak_megabytes:5.0f} MB  {figures.start_seconds:4.1f} s to the first step",
        flush=True,
    )


if __name__ == "__main__":
    main()
