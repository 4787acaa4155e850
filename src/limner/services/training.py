"""Trainings at Replicate, each in a folder of its own."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from limner.blocking import run_now
from limner.catalog import base_location, find_base
from limner.errors import ConsentNeeded, NotFound, RecipeRefused, WorkFailed
from limner.findings import refuse
from limner.services.hugging_face import HuggingFaceService
from limner.services.running import settings_of
from limner.settings import Settings
from limner.types import Consent, JobState, SubjectFacts, SubjectKind

if TYPE_CHECKING:
    from limner.hubs.hub import Published
    from limner.training.trainer import TrainingOrder, TrainingReport
    from limner.types import Plan

__all__ = ["TrainingService"]


class TrainingService:
    """Trains with Replicate; everything about a training is in a folder of its own below ``folder``."""

    def __init__(self, folder: str | Path, *, settings: Settings | None = None) -> None:
        from limner.training.replicate import ReplicateTrainer

        self.folder = Path(folder).expanduser().absolute()
        self.settings = settings_of(settings)
        self._trainer = ReplicateTrainer(settings=self.settings)

    def start_replicate_training(
        self,
        photos: str | Path | Sequence[str | Path],
        *,
        trigger: str,
        name: str = "",
        kind: SubjectKind | str = SubjectKind.PERSON,
        class_word: str = "",
        base: str = "flux1-dev",
        preset: str = "balanced",
        settings: Mapping[str, Any] | None = None,
        most_cost: float | None = None,
    ) -> str:
        """Check and pack the photos, upload them and start the training; give its id. Blocks until it is started.

        ``photos`` are files, folders, zips or globs; ``settings`` recipe fields over the preset's. The id is made of
        the photos, captions and settings: the same call again starts nothing new. PhotoRefused, RecipeRefused,
        AccountRefused say why it cannot be; ConsentNeeded: it would cost more than ``most_cost`` dollars.
        """
        training = self._prepare(photos, trigger, name, kind, class_word, base, preset, settings)
        order = self._order(training)
        estimate = self._trainer.estimate(order)
        if most_cost is not None and estimate.amount > most_cost:
            raise ConsentNeeded(
                f"The training would cost about ${estimate.amount:.2f}, more than ${most_cost:.2f}.",
                remedy="Raise most_cost, or take fewer steps.",
                thing=training,
            )

        async def start() -> str:
            refuse((await self._trainer.plan(order)).findings, RecipeRefused)
            return await self._trainer.start(order)

        self._write(training, {"reference": run_now(start())})
        return training

    def what_if(self, photos: str | Path | Sequence[str | Path], *, trigger: str, **options: Any) -> Plan:
        """What ``start_replicate_training`` would send, and what it would cost. Nothing is uploaded or paid."""
        options.pop("most_cost", None)  # nothing is spent here
        wanted = {"name": "", "kind": SubjectKind.PERSON, "class_word": "", "base": "flux1-dev", "preset": "balanced"}
        order = self._order(self._prepare(photos, trigger, **{**wanted, "settings": None, **options}))
        return run_now(self._trainer.plan(order))

    def check_training_status(self, training: str) -> TrainingReport:
        """Where the training is: state, progress with step, loss and seconds left, and the end of the vendor's log."""
        order, reference = self._order(training), self._reference(training)
        return run_now(self._trainer.poll(order, reference))

    def wait(self, training: str, on_report: Callable[[TrainingReport], None] | None = None) -> TrainingReport:
        """Look at the training, no more often than makes sense, until it has ended."""
        order, reference = self._order(training), self._reference(training)

        async def follow() -> TrainingReport:
            while True:
                report = await self._trainer.poll(order, reference)
                if on_report is not None:
                    on_report(report)
                if report.state.ended:
                    return report
                await asyncio.sleep(report.poll_after)

        return run_now(follow())

    def download(self, training: str) -> Path:
        """Bring the weights here, checked and in diffusers' naming. WorkFailed: the training failed, or still runs."""
        from limner.loras.checks.validation import validate
        from limner.loras.conversion.convert import to_diffusers
        from limner.loras.file.metadata import lora_metadata, seal

        order, weights = self._order(training), self._home(training) / "lora.safetensors"
        if weights.is_file():
            return weights
        report = self.check_training_status(training)
        if report.state is not JobState.DONE:
            raise WorkFailed(
                report.error or f"The training {training} is {report.state}.",
                remedy=report.remedy or "Wait for it: TrainingService.wait.",
                thing=training,
            )
        collected = run_now(self._trainer.collect(order, self._reference(training)))
        found = to_diffusers(collected.weights, self._home(training) / "converted.safetensors", base=order.base).path
        kept = self._read(training)
        metadata = lora_metadata(
            order.base,
            title=order.manifest.subject.name,
            trigger=order.manifest.subject.trigger,
            dataset_digest=order.manifest.digest,
            recipe=kept["recipe"],
            resolution=order.recipe.resolution,
        )
        partial = weights.with_suffix(".partial")
        seal(found, metadata, partial)
        validate(partial, order.base)
        partial.replace(weights)
        self._write(training, {"left_behind": list(collected.left_behind), "hosted": dict(collected.hosted)})
        return weights

    def upload_to_hugging_face(
        self, training: str, repo: str, *, private: bool = True, consent: Consent | None = None
    ) -> Published:
        """Publish the weights of an ended training with a model card; the same again makes no second revision."""
        kept, order = self._read(training), self._order(training)
        subject = order.manifest.subject
        return HuggingFaceService(settings=self.settings).upload_lora(
            self.download(training),
            repo,
            title=subject.name,
            trigger=subject.trigger,
            kind=subject.kind,
            class_word=subject.class_word,
            base=order.base.id,
            private=private,
            consent=consent,
            training_settings=kept["recipe"],
        )

    # --- a training's folder

    def _prepare(
        self,
        photos: str | Path | Sequence[str | Path],
        trigger: str,
        name: str,
        kind: SubjectKind | str,
        class_word: str,
        base: str,
        preset: str,
        settings: Mapping[str, Any] | None,
    ) -> str:
        from limner.datasets import manifest as manifests
        from limner.training import recipe as recipes

        row = find_base(base)
        kind = SubjectKind(kind)
        subject = SubjectFacts(_slug(name or trigger), name or trigger, kind, class_word or kind.value, trigger)
        recipe = recipes.validate(recipes.preset(preset, row, kind, **dict(settings or {})), row)
        paths = [photos] if isinstance(photos, str | Path) else list(photos)
        taken, captions = _take_in([str(path) for path in paths], self.folder / "photos", self.settings, subject)
        frozen, _ = manifests.freeze(
            subject,
            taken,
            captions,
            photo_path=self._photo,
            resolution=recipe.resolution,
            resolutions=row.resolutions,
        )
        identity = f"{frozen.digest} {recipes.canonical_json(recipe)}"
        training = f"training_{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        self._home(training).mkdir(parents=True, exist_ok=True)
        self._write(
            training,
            {"base": row.id, "recipe": recipes.plain(recipe), "manifest": manifests.to_plain(frozen)},
        )
        return training

    def _order(self, training: str) -> TrainingOrder:
        from limner.datasets import manifest as manifests
        from limner.datasets.packages import package
        from limner.training import recipe as recipes
        from limner.training.trainer import TrainingOrder

        kept = self._read(training)
        base, frozen = find_base(kept["base"]), manifests.from_plain(kept["manifest"])
        layout, target = self._trainer.describe().package, self._home(training) / "photos.zip"
        return TrainingOrder(
            id=training,
            run_directory=self._home(training),
            manifest=frozen,
            photo_path=self._photo,
            recipe=recipes.from_mapping(kept["recipe"]),
            base=base,
            base_path=base_location(base, self.settings.base_paths),
            package=lambda: package(layout, frozen, self._photo, target).path,
        )

    def _photo(self, digest: str) -> Path:
        return next((self.folder / "photos").glob(f"{digest}.*"), self.folder / "photos" / digest)

    def _home(self, training: str) -> Path:
        return self.folder / training

    def _read(self, training: str) -> dict[str, Any]:
        try:
            kept: dict[str, Any] = json.loads((self._home(training) / "service.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise NotFound(
                f"There is no training '{training}' in {self.folder}.", remedy="Start one first.", thing=training
            ) from None
        return kept

    def _write(self, training: str, changes: Mapping[str, Any]) -> None:
        path = self._home(training) / "service.json"
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        partial = path.with_suffix(f".{uuid4().hex[:8]}")
        partial.write_text(json.dumps({**kept, **changes}, default=str), encoding="utf-8")
        partial.replace(path)

    def _reference(self, training: str) -> str:
        reference = str(self._read(training).get("reference", ""))
        if not reference:
            raise WorkFailed(
                f"The training {training} was prepared and never started.",
                remedy="Call start_replicate_training again; nothing is paid twice.",
                thing=training,
            )
        return reference


def _slug(name: str) -> str:
    kept = "".join(char if char.isalnum() and char.isascii() else "-" for char in name.lower())
    return "-".join(part for part in kept.split("-") if part)[:40] or "subject"


def _take_in(
    paths: Sequence[str], folder: Path, settings: Settings, subject: SubjectFacts
) -> tuple[list[Any], dict[str, str]]:
    """The photos that pass the checks, stored under their digests, and their captions where files give some."""
    from limner.datasets.captions.files import read_captions
    from limner.datasets.captions.template import fill
    from limner.photos import IntakeLimits, find_sources, take_in

    limits = IntakeLimits(max_pixels=settings.max_photo_pixels, max_zip_bytes=settings.max_zip_bytes)
    scratch = folder / f".intake-{uuid4().hex[:8]}"
    scratch.mkdir(parents=True)
    photos: list[Any] = []
    captions: dict[str, str] = {}
    try:
        book = read_captions([Path(path) for path in paths])
        for result in take_in(find_sources(list(paths), scratch, limits), workdir=scratch, limits=limits):
            if result.photo is None or result.file is None:
                continue
            result.file.replace(folder / f"{result.photo.digest}{result.file.suffix}")
            caption = book.find(result.report.source)
            if caption is not None:
                captions[result.photo.digest] = fill(caption.text, subject)
            for worse in result.outdone:
                photos = [photo for photo in photos if photo.digest != worse.digest]
                if said := captions.pop(worse.digest, ""):
                    captions.setdefault(result.photo.digest, said)
                for file in folder.glob(f"{worse.digest}.*"):
                    file.unlink()
            photos.append(result.photo)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return photos, captions
