"""Trainings at Replicate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from limner.catalog import find_base
from limner.datasets.triggers import propose_slug
from limner.errors import Conflict, ConsentNeeded, RecipeRefused, WorkFailed
from limner.findings import refuse
from limner.records import Publication, Training
from limner.services.hugging_face import publish, studio_in
from limner.settings import Settings
from limner.training import recipe as recipes
from limner.types import Consent, JobState, Plan, SubjectKind

__all__ = ["TrainingService"]


class TrainingService:
    """Trains with Replicate; everything about its trainings is in ``folder``."""

    def __init__(self, folder: str | Path, *, settings: Settings | None = None) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.studio = studio_in(folder, settings)

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
        """Check the photos and start the training; give its id.

        ``photos`` are files, folders, zips or globs; ``settings`` recipe fields over the preset's. The same photos,
        captions and settings again start nothing new; a training of them that failed goes on, or is bought anew.
        PhotoRefused, RecipeRefused, AccountRefused say why it cannot be; ConsentNeeded: it would cost more than
        ``most_cost`` dollars.
        """
        slug = self._take_in(photos, trigger, name, SubjectKind(kind), class_word)
        known = self._known(slug, base, preset, settings)
        if known is not None and (known.state is JobState.DONE or not known.state.ended):
            return known.id
        plan = self._plan(slug, base, preset, settings)
        if most_cost is not None and plan.estimate.amount > most_cost:
            raise ConsentNeeded(
                f"The training would cost about ${plan.estimate.amount:.2f}, more than ${most_cost:.2f}.",
                remedy="Raise most_cost, or take fewer steps.",
                thing=name or trigger,
            )
        refuse(plan.findings, RecipeRefused)
        if known is not None:
            return self.studio.trainings.resume(known.id, yes=True).target
        return self.studio.trainings.start(
            slug, yes=True, trainer="replicate", base=base, preset=preset, settings=settings
        ).target

    def what_if(
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
    ) -> Plan:
        """What ``start_replicate_training`` would send, and what it would cost. Nothing is uploaded or paid."""
        return self._plan(self._take_in(photos, trigger, name, SubjectKind(kind), class_word), base, preset, settings)

    def check_training_status(self, training: str) -> Training:
        """Where the training is: its state, progress and losses. ``studio.trainings.log`` has the vendor's log."""
        return self.studio.trainings.get(training)

    def wait(self, training: str, on_report: Callable[[Training], None] | None = None) -> Training:
        """Look at the training whenever it changes, until it has ended."""
        for _ in self.studio.watch(self.studio.jobs.get(training)):
            if on_report is not None:
                on_report(self.studio.trainings.get(training))
        return self.studio.trainings.get(training)

    def download(self, training: str) -> Path:
        """The weights, checked and in diffusers' naming. WorkFailed: the training failed, or still runs."""
        lora = self._lora(training)
        weights = self.folder / f"{training}.safetensors"
        return weights if weights.is_file() else self.studio.loras.export(lora, weights)

    def upload_to_hugging_face(
        self, training: str, repo: str, *, private: bool = True, consent: Consent | None = None
    ) -> Publication:
        """Publish the weights of an ended training with a model card; the same again makes no second revision."""
        return publish(self.studio, self.studio.loras.get(self._lora(training)), repo, private=private, consent=consent)

    def _lora(self, training: str) -> str:
        found = self.studio.trainings.get(training)
        if found.state is not JobState.DONE:
            error = found.error
            raise WorkFailed(
                (error and error.message) or f"The training {training} is {found.state}.",
                remedy=(error and error.remedy) or "Wait for it: TrainingService.wait.",
                thing=training,
            )
        return found.lora

    def _take_in(
        self, photos: str | Path | Sequence[str | Path], trigger: str, name: str, kind: SubjectKind, class_word: str
    ) -> str:
        """The subject of these words, with these photos and no others."""
        studio, words = self.studio, [trigger, name, kind, class_word]
        slug = f"{propose_slug(name or trigger)[:30]}-{hashlib.sha256(json.dumps(words).encode()).hexdigest()[:6]}"
        with suppress(Conflict):  # it is there since an earlier call
            studio.subjects.add(slug, name=name or trigger, kind=kind, class_word=class_word, trigger=trigger)
        intake = studio.wait(studio.photos.add(slug, [photos] if isinstance(photos, str | Path) else photos))
        report = studio.photos.report(slug, intake.id)
        named = {digest for entry in report for digest in (entry.photo, entry.report.like)}
        for entry in studio.photos.all(slug):
            if entry.digest not in named:
                studio.photos.remove(slug, entry.digest)
        return slug

    def _known(self, slug: str, base: str, preset: str, settings: Mapping[str, Any] | None) -> Training | None:
        row = find_base(base)
        recipe = recipes.validate(
            recipes.preset(preset, row, self.studio.subjects.get(slug).kind, **(settings or {})), row
        )
        dataset = self.studio.datasets.freeze(slug, base=base, resolution=recipe.resolution).digest
        same = (dataset, row.id, "replicate", recipes.canonical_json(recipe))
        for it in self.studio.trainings.all(slug):
            if (it.dataset, it.base, it.trainer, recipes.canonical_json(recipes.from_mapping(it.recipe))) == same:
                return it
        return None

    def _plan(self, slug: str, base: str, preset: str, settings: Mapping[str, Any] | None) -> Plan:
        [plan] = self.studio.trainings.start(
            slug, what_if=True, trainer="replicate", base=base, preset=preset, settings=settings
        ).plans
        return plan
