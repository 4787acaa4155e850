"""What must hold however a run was disturbed; each broken promise is one line."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

from limner import Studio
from limner.loras.checks.inspection import inspect
from limner.records import Job
from limner.stand_ins.rehearsal import TOKENS
from limner.types import JobState
from tests.faults.world import VENDORS, World

__all__ = ["Expected", "broken_promises", "is_well_said"]

HTML = re.compile(r"<!doctype|</?(html|body|head|h1|title)\b|<\?xml", re.IGNORECASE)
WEIGHTS = "pytorch_lora_weights.safetensors"
INNER = re.compile(r"Traceback|File \"|httpx2?\.|\w+Error\(|object at 0x|\bNone\b|\{['\"]")


@dataclass
class Expected:
    """What a run is to leave. ``again`` counts what the user agreed to buy a second time, by kind of thing."""

    photos: tuple[str, ...]
    pictures: int
    again: Counter[str] = field(default_factory=Counter)


def is_well_said(error: Mapping[str, Any]) -> list[str]:
    """What is wrong with how a failure is explained; nothing if it is a sentence and a remedy."""
    message, remedy = str(error.get("message", "")), str(error.get("remedy", ""))
    wrong = []
    if not message.strip() or len(message) > 500 or "\n" in message:
        wrong.append(f"no sentence: {message[:120]!r}")
    if not remedy.strip():
        wrong.append(f"no remedy for: {message[:160]!r}")
    if error.get("code") in ("unexpected", "error"):
        wrong.append(f"not foreseen: {message[:200]!r}")
    for text in (message, remedy):
        if HTML.search(text):
            wrong.append(f"HTML in: {text[:160]!r}")
        if INNER.search(text):
            wrong.append(f"program text in: {text[:160]!r}")
        wrong += [f"the token {name} in: {text[:160]!r}" for name, value in TOKENS.items() if value in text]
    return wrong


def broken_promises(home: Path, world: World, job: Job, expected: Expected) -> list[str]:
    """All that was promised and does not hold at the end of a run that ended well."""
    found = list(_paid_twice(world, expected))
    with Studio(settings=_settings(home)) as studio:
        found += _lost_photos(studio, expected)
        found += _lora(studio, job)
        found += _publication(studio, world)
        found += _pictures(studio, job, expected)
        if studio.payments.open():
            found.append(f"purchases are open at the end: {[one.tag for one in studio.payments.open()]}")
    found += _left_at_vendors(world, job)
    found += _tokens_on_disk(home)
    return found


def _settings(home: Path) -> Any:
    from limner.settings import Settings

    return Settings(home=home, start_worker=False)


def _paid_twice(world: World, expected: Expected) -> Iterator[str]:
    """No vendor was paid for more than one training that went well, nor for more pictures than were wanted."""
    paid = [(vendor, entry) for vendor in VENDORS for entry in getattr(world, vendor).paid]
    trainings = [(vendor, entry) for vendor, entry in paid if "train" in entry.what]
    pictures = [(vendor, entry) for vendor, entry in paid if "train" not in entry.what]
    allowed = 1 + world.failed("training") + expected.again["training"]
    if len(trainings) > allowed:
        yield f"{len(trainings)} trainings were paid, {allowed} may be: {[entry for _, entry in trainings]}"
    allowed = expected.pictures + world.failed("picture") + expected.again["picture"]
    if len(pictures) > allowed:
        yield f"{len(pictures)} pictures were paid, {allowed} may be"
    # where the vendor knows what it did, nobody need be asked: whatever it brought to a good end is to be found again
    for vendor, done in (("replicate", _good_at_replicate(world)), ("fal", _good_at_fal(world))):
        for what, wanted in (("training", 1), ("picture", expected.pictures)):
            if done[what] > wanted:
                yield f"{vendor} brought {done[what]} times a {what} to a good end, {wanted} were wanted"
    if not trainings:
        yield "no training was paid at all: what was trained?"
    if len(pictures) < expected.pictures:
        yield f"only {len(pictures)} pictures were paid: where are the others from?"


def _good_at_replicate(world: World) -> Counter[str]:
    jobs = [*world.replicate.trainings.values(), *world.replicate.predictions.values()]
    return Counter("training" if job.kind == "training" else "picture" for job in jobs if job.status == "succeeded")


def _good_at_fal(world: World) -> Counter[str]:
    good = [one for one in world.fal.requests.values() if one.status == "COMPLETED" and one.code == 200]
    return Counter("training" if one.row.does == "train" else "picture" for one in good)


def _lost_photos(studio: Studio, expected: Expected) -> Iterator[str]:
    photos = studio.photos.all("zib")
    if tuple(sorted(photo.digest for photo in photos)) != expected.photos:
        yield f"{len(photos)} photos are left of {len(expected.photos)}"
    for photo in photos:
        if _digest(photo.path) != photo.digest:
            yield f"the photo {photo.digest[:12]} is damaged"


def _lora(studio: Studio, job: Job) -> Iterator[str]:
    loras = studio.loras.all("zib")
    if len(loras) != 1:
        yield f"there are {len(loras)} loras instead of one"
    for lora in loras:
        if _digest(lora.path) != lora.digest:
            yield f"the lora {lora.name} is damaged"
        elif inspect(lora.path).base != lora.base:
            yield f"the lora {lora.name} is of another base"
        if lora.digest != job.result.get("lora_digest"):
            yield "the job names another lora"


def _publication(studio: Studio, world: World) -> Iterator[str]:
    """One repo, one publication, one commit that brings the weights, which are the lora's."""
    publications = studio.publications.all("zib")
    if len(publications) != 1:
        yield f"there are {len(publications)} publications instead of one"
    repos = world.huggingface.repos
    if len(repos) != 1:
        yield f"there are {len(repos)} repos instead of one: {sorted(repos)}"
        return
    [repo] = repos.values()
    versions = [commit.files[WEIGHTS].sha256 for commit in repo.history if WEIGHTS in commit.files]
    brought = [one for one, before in zip(versions, [None, *versions], strict=False) if one != before]
    if len(brought) != 1:
        yield f"the weights came {len(brought)} times into {len(repo.history)} commits"
    elif brought[0] != studio.loras.get("zib").digest:
        yield "what is published is not the lora"
    elif publications and WEIGHTS not in getattr(repo.find(publications[0].revision), "files", {}):
        yield f"the publication names the revision {publications[0].revision}, where there are no weights"
    if len(repo.tags) > 1:
        yield f"one version has {len(repo.tags)} tags: {sorted(repo.tags)}"


def _pictures(studio: Studio, job: Job, expected: Expected) -> Iterator[str]:
    images = studio.generations.images("zib")
    if len(images) != expected.pictures:
        yield f"there are {len(images)} pictures instead of {expected.pictures}"
    if len({(image.generation, image.position) for image in images}) != len(images):
        yield "two pictures have one place"
    for image in images:
        data = image.path.read_bytes()
        if hashlib.sha256(data).hexdigest() != image.digest:
            yield f"the picture {image.id} is damaged"
        try:
            with Image.open(BytesIO(data)) as picture:
                picture.load()
                if picture.size != (image.width, image.height):
                    yield f"the picture {image.id} has the size {picture.size}"
        except (OSError, ValueError):
            yield f"the picture {image.id} cannot be read"
    if job.state is not JobState.DONE:
        yield f"the job is {job.state}"


def _left_at_vendors(world: World, job: Job) -> Iterator[str]:
    """The photos that were sent to a vendor that deletes on request are deleted, or the job says that they are not."""
    left = len(world.replicate.files)
    if left and not job.result.get("left_behind"):
        yield f"{left} files with photos are left at Replicate, and nobody is told"


def _tokens_on_disk(home: Path) -> Iterator[str]:
    for path in home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            for name, value in TOKENS.items():
                if value.encode() in data:
                    yield f"the token {name} is in {path.relative_to(home)}"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
