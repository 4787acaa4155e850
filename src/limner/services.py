"""Three plain classes over the same code as the studio's, usable without a store: train, publish, draw.

    training = TrainingService("work")
    id = training.start_replicate_training("photos/", trigger="zibbo", kind="character", class_word="character")
    print(training.check_training_status(id).progress)
    place = training.upload_to_hugging_face(id, "zibbo-lora", private=False)
    TogetherService().generate_with_lora("zibbo in the snow", [f"{place.repo}:0.9"], out="pictures")

Tokens come from where all of Limner finds them (environment, ``.env``, keyring). All state of a training is in its
folder: the same call again, after a crash too, goes on with what was started, and pays nothing a second time as long as
the vendor still lists the job. The studio's book of payments is stricter; use it where money matters much.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from limner import __version__
from limner.catalog import find_base, use_catalog
from limner.errors import ConsentNeeded, InputRefused, LimnerError, NotFound, RecipeRefused, WorkFailed
from limner.settings import Settings, read_settings
from limner.types import Consent, Finding, Health, JobState, Severity, SubjectFacts, SubjectKind, Visibility

if TYPE_CHECKING:
    from limner.hubs.hub import Published
    from limner.training.trainer import TrainingOrder, TrainingReport
    from limner.types import Plan

__all__ = ["HuggingFaceService", "TogetherService", "TrainingService"]

Result = TypeVar("Result")


class TrainingService:
    """Trains with Replicate; everything about a training is in a folder of its own below ``folder``."""

    def __init__(self, folder: str | Path, *, settings: Settings | None = None) -> None:
        from limner.training.replicate import ReplicateTrainer

        self.folder = Path(folder).expanduser().absolute()
        self.settings = _settings(settings)
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
            _refuse((await self._trainer.plan(order)).findings, RecipeRefused)
            return await self._trainer.start(order)

        self._write(training, {"reference": _now(start)})
        return training

    def what_if(self, photos: str | Path | Sequence[str | Path], *, trigger: str, **options: Any) -> Plan:
        """What ``start_replicate_training`` would send, and what it would cost. Nothing is uploaded or paid."""
        options.pop("most_cost", None)  # nothing is spent here
        wanted = {"name": "", "kind": SubjectKind.PERSON, "class_word": "", "base": "flux1-dev", "preset": "balanced"}
        order = self._order(self._prepare(photos, trigger, **{**wanted, "settings": None, **options}))
        return _now(lambda: self._trainer.plan(order))

    def check_training_status(self, training: str) -> TrainingReport:
        """Where the training is: state, progress with step, loss and seconds left, and the end of the vendor's log."""
        order, reference = self._order(training), self._reference(training)
        return _now(lambda: self._trainer.poll(order, reference))

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

        return _now(follow)

    def download(self, training: str) -> Path:
        """Bring the weights here, checked and in diffusers' naming. WorkFailed: the training failed, or still runs."""
        from limner.loras.conversion import to_diffusers
        from limner.loras.metadata import lora_metadata, seal
        from limner.loras.validation import validate

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
        collected = _now(lambda: self._trainer.collect(order, self._reference(training)))
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
            base_path=base.repo,
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


class HuggingFaceService:
    """Publishes lora files on the Hugging Face Hub, and says how they are there."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        from limner.hubs.huggingface import HuggingFaceHub

        self.settings = _settings(settings)
        self._hub = HuggingFaceHub(settings=self.settings)

    def upload_lora(
        self,
        weights: str | Path,
        repo: str,
        *,
        trigger: str = "",
        title: str = "",
        kind: SubjectKind | str = SubjectKind.STYLE,
        class_word: str = "",
        base: str = "",
        private: bool = True,
        tag: str = "v1",
        samples: Mapping[str, tuple[Path, str]] | None = None,
        consent: Consent | None = None,
        training_settings: Mapping[str, Any] | None = None,
    ) -> Published:
        """Publish a lora file of any naming as ``owner/name`` or ``name``, with a model card, in one commit.

        ``samples`` are pictures by file name, each with its prompt. LoraRefused: the file is no lora, or not of
        ``base``; without one the base is found from the tensors. InputRefused: a person's lora shall be public
        without a consent.
        """
        from limner.hubs.card import CardFacts, CardSample, model_card
        from limner.hubs.hub import WEIGHTS_NAME, LoraPackage
        from limner.loras.inspection import inspect
        from limner.loras.validation import validate

        path, kind = Path(weights), SubjectKind(kind)
        if not private and kind is SubjectKind.PERSON and consent is None:
            raise InputRefused(
                "A lora of a person shall be public, and no consent was given.",
                remedy="Pass consent=Consent(statement, given_by, given_at), or publish privately.",
                thing=repo,
            )
        found = inspect(path)
        row = find_base(base or found.base)
        facts = validate(path, row)
        repo = self._hub.full_name(repo)
        shown = samples or {}
        card = CardFacts(
            repo=repo,
            title=title or path.stem,
            kind=kind,
            trigger=trigger or facts.trigger,
            class_word=class_word,
            base=row,
            weights_name=WEIGHTS_NAME,
            weights_digest=facts.digest,
            tag=tag,
            rank=facts.rank,
            alpha=facts.alpha,
            modules=facts.modules,
            settings=training_settings or {},
            samples=tuple(CardSample(name, prompt) for name, (_, prompt) in shown.items()),
            consent=consent,
            limner_version=__version__,
        )
        package = LoraPackage(
            weights=path,
            weights_digest=facts.digest,
            card=model_card(card),
            samples={one.name: shown[one.name][0] for one in card.shown},
        )
        visibility = Visibility.PRIVATE if private else Visibility.PUBLIC
        return self._hub.publish(repo, package, visibility=visibility, tag=tag, message=f"{card.title} {tag}")

    def get_lora_status(self, repo: str, *, revision: str = "main", weights_digest: str = "") -> Health:
        """Whether the lora there is ready for use, and by whom; ``problems`` says what stands in the way."""
        return self._hub.status(self._hub.full_name(repo), revision=revision, weights_digest=weights_digest)


class TogetherService:
    """Draws with Together AI."""

    def __init__(self, *, settings: Settings | None = None) -> None:
        from limner.generation.together import TogetherGenerator

        self.settings = _settings(settings)
        self._generator = TogetherGenerator(settings=self.settings)

    def generate_with_lora(
        self,
        prompt: str,
        loras: Sequence[str] = (),
        *,
        out: str | Path,
        base: str = "",
        model: str = "",
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int = 0,
        count: int = 1,
        extra: Mapping[str, Any] | None = None,
    ) -> list[Path]:
        """Draw ``count`` pictures into the folder ``out``, each with its provenance in it; give the files by index.

        ``loras`` are ``owner/repo`` of the Hub or https addresses, each with ``:0.8`` or without; the base is found
        from their files. A picture that is in ``out`` already is not drawn, or paid, again. InputRefused: a lora does
        not fit the model, or Together cannot get at it; ContentRefused; Undecided: a picture was perhaps paid and never
        came.
        """
        from limner.generation.generator import GenerationOrder
        from limner.pipeline.generating import parse_lora
        from limner.pipeline.importing import describe_remote

        named = [parse_lora(words) for words in loras]
        uses = [replace(describe_remote(name, self.settings), scale=scale) for name, scale in named]
        row = find_base(base or next((use.base for use in uses if use.base), "flux2-dev"))
        wanted: dict[str, Any] = {
            "width": width or row.size,
            "height": height or row.size,
            "steps": steps or row.steps,
            "guidance": row.guidance if guidance is None else guidance,
            "seed": seed,
            "model": model,
            "extra": dict(extra or {}),
        }
        identity = json.dumps([prompt, row.id, [[use.url, use.scale] for use in uses], wanted], sort_keys=True)
        folder, name = Path(out).expanduser().absolute(), hashlib.sha256(identity.encode()).hexdigest()[:12]
        folder.mkdir(parents=True, exist_ok=True)
        files = {index: folder / f"{name}-{index:03d}.png" for index in range(count)}
        order = GenerationOrder(
            id=name,
            prompt=prompt,
            base=row,
            base_path=row.repo,
            loras=tuple(uses),
            count=count,
            done=frozenset(index for index, path in files.items() if path.is_file()),
            **wanted,
        )
        if len(order.done) < count:
            _now(lambda: self._draw(order, files))
        return list(files.values())

    async def _draw(self, order: Any, files: Mapping[int, Path]) -> None:
        from limner.generation import provenance
        from limner.generation.pixels import opened
        from limner.types import ImageRecord

        _refuse((await self._generator.plan(order)).findings, InputRefused)
        async for drawn in self._generator.draw(order):
            with opened(drawn.data) as picture:
                width, height = picture.size
            record = ImageRecord(
                prompt=order.prompt,
                width=width,
                height=height,
                steps=order.steps,
                guidance=order.guidance,
                seed=drawn.seed,
                base=order.base.id,
                generator="together",
                loras=order.loras,
                versions={"limner": __version__, **drawn.versions},
                made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            )
            signer = self.settings.home if self.settings.sign_images else None
            partial = files[drawn.index].with_suffix(".partial")
            partial.write_bytes(provenance.seal_image(drawn.data, record, credentials=signer))
            partial.replace(files[drawn.index])


def _settings(settings: Settings | None) -> Settings:
    found = settings or read_settings()
    if found.catalog is not None:
        use_catalog(found.catalog)
    return found


def _refuse(findings: Sequence[Finding], kind: type[LimnerError]) -> None:
    for finding in findings:
        if finding.severity is Severity.REFUSAL:
            raise kind(finding.message, remedy=finding.remedy, thing=finding.code)


def _now(work: Callable[[], Awaitable[Result]]) -> Result:
    """Run to the end, whether or not an event loop runs in this thread."""
    from concurrent.futures import ThreadPoolExecutor

    async def run() -> Result:
        return await work()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(lambda: asyncio.run(run())).result()


def _slug(name: str) -> str:
    kept = "".join(char if char.isalnum() and char.isascii() else "-" for char in name.lower())
    return "-".join(part for part in kept.split("-") if part)[:40] or "subject"


def _take_in(
    paths: Sequence[str], folder: Path, settings: Settings, subject: SubjectFacts
) -> tuple[list[Any], dict[str, str]]:
    """The photos that pass the checks, stored under their digests, and their captions where files give some."""
    from limner.datasets.captions import fill, read_captions
    from limner.photos import IntakeLimits, find_sources, take_in

    limits = IntakeLimits(max_pixels=settings.max_photo_pixels, max_zip_bytes=settings.max_zip_bytes)
    scratch = folder / f".intake-{uuid4().hex[:8]}"
    scratch.mkdir(parents=True)
    photos, captions = [], {}
    try:
        book = read_captions([Path(path) for path in paths])
        for result in take_in(find_sources(list(paths), scratch, limits), workdir=scratch, limits=limits):
            if result.photo is None or result.file is None:
                continue
            result.file.replace(folder / f"{result.photo.digest}{result.file.suffix}")
            photos.append(result.photo)
            caption = book.find(result.report.source)
            if caption is not None:
                captions[result.photo.digest] = fill(caption.text, subject)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return photos, captions
