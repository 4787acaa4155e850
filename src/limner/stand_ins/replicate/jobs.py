"""The work of the Replicate stand-in: trainings and predictions, each in a thread of its own."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from limner.errors import Cancelled, LimnerError
from limner.stand_ins.replicate.models import ASPECTS, StoredVersion, base_of, trained_schema
from limner.stand_ins.replicate.state import ReplicateState, get_url
from limner.stand_ins.replicate.stored import JobFailed, StoredJob, time_words

__all__ = ["draw", "make_tar", "train"]

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


# --- trainings --------------------------------------------------------------------------------------------------------


def train(vendor: ReplicateState, job: StoredJob) -> dict[str, str]:
    """Train as the trainer does: unzip, train, put the weights and captions into a tar; gives the training's output."""
    given = {**_defaults(job.version, "TrainingInput"), **job.input}
    steps = int(given.get("steps") or given.get("training_steps") or 1000)
    photos = _photos(vendor, job, given)
    vendor.say(job, f"Extracted {len(photos)} files from zip to input_images\n")
    vendor.say(job, f"Caching latents: 100%|██████████| {len(photos)}/{len(photos)} [00:01<00:00,  9.87it/s]\n")
    vendor.say(job, "Starting train job\n")
    rate = float(given.get("learning_rate", 4e-4))
    began = time.time()

    def on_step(step: int, loss: float) -> None:
        vendor.go_on(job, step)
        vendor.say(job, _bar(step, steps, time.time() - began, rate, loss))

    try:
        lora = vendor.engine.train(
            job.model.base,
            photos,
            steps=steps,
            rank=int(given.get("lora_rank", 16)),
            learning_rate=rate,
            seed=int(given.get("seed") or 42),
            on_step=on_step,
            cancelled=job.cancelled.is_set,
        )
    except (Cancelled, ValueError) as failure:
        raise failure if isinstance(failure, Cancelled) else JobFailed(str(failure)) from failure
    if vendor.change_weights is not None:
        lora = vendor.change_weights(lora)
    vendor.say(job, "\nSaving at step\n")
    name = "flux-lora.safetensors" if "fast" in job.model.name else "lora.safetensors"
    tar = vendor.make_tar(name, lora, [(photo, caption) for photo, _, caption in photos])
    destination = vendor.models[job.destination]
    version = hashlib.sha256(f"{job.id} {job.destination}".encode() + lora).hexdigest()
    made = StoredVersion(version, time_words(time.time()), trained_schema(job.model.base), lora)
    destination.does, destination.base = "generate", job.model.base
    destination.versions.append(made)
    return {
        "version": f"{destination.full_name}:{version}",
        "weights": vendor.deliver("trained_model.tar", tar, "application/x-tar", job),
    }


def _bar(step: int, steps: int, spent: float, rate: float, loss: float) -> str:
    """A line as ai-toolkit's progress bar prints it."""
    done = step * 10 // steps
    speed = step / max(spent, 1e-3)
    left = (steps - step) / speed
    return (
        f"\rflux_train_replicate: {step * 100 // steps:3d}%|{'█' * done}{' ' * (10 - done)}| {step}/{steps} "
        f"[{_clock(spent)}<{_clock(left)}, {speed:5.2f}it/s, lr: {rate:.1e} loss: {loss:.3e}]"
    )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def _photos(vendor: ReplicateState, job: StoredJob, given: Mapping[str, Any]) -> list[tuple[str, bytes, str]]:
    """The photos of the zip with their captions: flat, paired by stem."""
    url = given.get("input_images")
    if not url:
        raise JobFailed("input_images must be provided")
    data = vendor.read_input(str(url), job.owner)
    if not zipfile.is_zipfile(io.BytesIO(data)):
        raise JobFailed("input_images must be a zip file")
    pictures: dict[str, tuple[str, bytes]] = {}
    captions: dict[str, str] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            path = PurePosixPath(name)
            if name.startswith(("__MACOSX/", "._")) or name.endswith("/") or len(path.parts) > 1:
                continue
            if path.suffix.lower() in PICTURES:
                pictures[path.stem] = (name, archive.read(name))
            elif path.suffix.lower() == ".txt":
                captions[path.stem] = archive.read(name).decode()
    if not pictures:
        raise JobFailed("No images found in the zip file")
    trigger = str(given.get("trigger_word") or "")
    return [
        (name, picture, captions.get(stem, f"a photo of {trigger}").replace("[trigger]", trigger))
        for stem, (name, picture) in sorted(pictures.items())
    ]


def make_tar(name: str, lora: bytes, captions: Sequence[tuple[str, str]]) -> bytes:
    """The tar of a training's results, in the real one's layout."""
    root = "output/flux_train_replicate"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in ("output", root, f"{root}/captions"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        files = [(name, lora), ("config.yaml", b"job: custom_job\n")]
        files += [(f"captions/{PurePosixPath(photo).stem}.txt", text.encode()) for photo, text in captions]
        for short, data in files:
            entry = tarfile.TarInfo(f"{root}/{short}")
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


# --- predictions ------------------------------------------------------------------------------------------------------


def draw(vendor: ReplicateState, job: StoredJob) -> list[str]:
    """Draw the pictures of a prediction; gives their addresses."""
    given = {**_defaults(job.version, "Input"), **job.input}
    base = base_of(job.model.base)
    prompt = str(given["prompt"])
    if "nsfw" in prompt.lower() and not given.get("disable_safety_checker"):
        raise JobFailed("NSFW content detected. Try running it again, or try a different prompt.")
    loras: list[tuple[bytes, float]] = []
    if job.version.lora:
        loras.append((job.version.lora, float(given.get("lora_scale", 1))))
    elif given.get("lora_weights"):
        loras.append((fetch_lora(vendor, job.owner, str(given["lora_weights"])), float(given.get("lora_scale", 1))))
    if given.get("extra_lora"):
        extra = fetch_lora(vendor, job.owner, str(given["extra_lora"]))
        loras.append((extra, float(given.get("extra_lora_scale", 1))))
    width, height = _size(given, base.size)
    seed = int(given.get("seed") or time.time_ns() % 65536)
    vendor.say(job, f"Using seed: {seed}\n")
    urls = []
    kind = str(given.get("output_format", "webp"))
    for number in range(int(given.get("num_outputs", 1))):
        vendor.go_on(job, number + 1)
        if job.cancelled.is_set():
            raise Cancelled("The prediction was stopped.")
        try:
            picture = vendor.engine.draw(
                job.model.base,
                prompt,
                loras=loras,
                width=width,
                height=height,
                steps=int(given.get("num_inference_steps", base.steps)),
                guidance=float(given.get("guidance", given.get("guidance_scale", base.guidance))),
                seed=seed + number,
            )
        except (LimnerError, ValueError) as failure:
            raise JobFailed(f"Failed to load LoRA: {failure}") from failure
        urls.append(vendor.deliver(f"out-{number}.{kind}", _as(picture, kind), f"image/{kind}", job))
    return urls


def _size(given: Mapping[str, Any], usual: int) -> tuple[int, int]:
    aspect = given.get("aspect_ratio", "1:1")
    if aspect == "custom":
        return int(given.get("width") or usual), int(given.get("height") or usual)
    width, height = ASPECTS[aspect]
    if usual < 1024:
        return usual, usual
    return (width // 2, height // 2) if given.get("megapixels") == "0.25" else (width, height)


def _as(picture: bytes, kind: str) -> bytes:
    if kind == "png":
        return picture
    from PIL import Image

    out = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").save(out, format={"jpg": "JPEG", "webp": "WEBP"}[kind])
    return out.getvalue()


def _defaults(version: StoredVersion, inputs: str) -> dict[str, Any]:
    properties = version.schema["components"]["schemas"][inputs]["properties"]
    return {name: row["default"] for name, row in properties.items() if "default" in row}


# --- loras by address -------------------------------------------------------------------------------------------------


def fetch_lora(vendor: ReplicateState, owner: str, where: str) -> bytes:
    """Fetch a lora as the real loader does: without any token, a repo must hold exactly one ``.safetensors``."""
    if "://" not in where:
        return _hosted(vendor, owner, where)
    match = re.match(r"^(https?://.*\.safetensors)(?:\?|$)", where)
    if match:
        return get_url(match[1])
    parts = urlsplit(where)
    path = parts.path.strip("/")
    if len(path.split("/")) != 2:
        raise JobFailed("Failed to parse URL. Expected a Replicate model, a HuggingFace URL or a .safetensors URL")
    root = f"{parts.scheme}://{parts.netloc}"
    files = json.loads(get_url(f"{root}/api/models/{path}/tree/main"))
    names = [row["path"] for row in files if row["path"].endswith(".safetensors")]
    if len(names) != 1:
        many = "Multiple .safetensors files" if names else "No .safetensors file"
        raise JobFailed(f"{many} found in the repository")
    return get_url(f"{root}/{path}/resolve/main/{names[0]}")


def _hosted(vendor: ReplicateState, owner: str, where: str) -> bytes:
    parts = where.replace("/versions/", "/").strip("/").split("/")
    name, version = "/".join(parts[:2]), parts[2] if len(parts) > 2 else ""
    model = vendor.models.get(name)
    open_to = model is not None and (model.visibility == "public" or (vendor.mixes_private and model.owner == owner))
    if model is None or not open_to or not model.versions:
        raise JobFailed(f"404 Client Error: Not Found for url: https://replicate.com/{name}/_weights")
    found = model.version(version) if version else model.versions[-1]
    if found is None or not found.lora:
        raise JobFailed("No .safetensors file found in tarball")
    return found.lora
