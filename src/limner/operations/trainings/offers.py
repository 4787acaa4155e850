"""What a training could be before it is started: every trainer with its price, its time and what stands in its way.

Nobody is asked over the network: whether a vendor still lists a model is asked right before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import select

from limner import plugins
from limner.catalog import bases, find_base
from limner.datasets.captions.template import plain_braces
from limner.datasets.manifest import MIN_PHOTOS
from limner.errors import ConsentNeeded, LimnerError, RecipeRefused, SpendingRefused
from limner.money.budgets import check_budgets
from limner.money.consent import check_consent
from limner.operations.datasets import queries as dataset_queries
from limner.operations.home.workspace import Workspace
from limner.operations.payments import ledger
from limner.operations.photos import queries as photo_queries
from limner.operations.photos.caption_health import cut_captions
from limner.operations.subjects import queries as subject_queries
from limner.operations.trainings import job as training_job
from limner.operations.trainings import submission as trainings
from limner.operations.trainings.request import TrainRequest
from limner.records import RecipeField, Subject, TrainerChoice, TrainingChoices
from limner.store.models import BlobRow, PhotoRow, TrainingRow
from limner.training import recipe as recipes
from limner.training.recipe_fields import recipe_fields
from limner.types import (
    BackEnd,
    Base,
    Budget,
    Crop,
    DatasetItem,
    DatasetManifest,
    Estimate,
    Finding,
    JobState,
    Severity,
    SubjectKind,
)

__all__ = ["choices", "fields"]

GROUP = "limner.trainers"
MEASURED = 5
"""How many of the newest trainings of a kind say how long one takes."""
LEAST_STEPS = 10
"""A run of fewer steps says nothing: starting takes longer than training."""


def choices(
    workspace: Workspace,
    slug: str,
    *,
    base: str = "",
    trainer: str = "",
    preset: str = "",
    settings: Mapping[str, Any] | None = None,
    dataset: str = "",
    allow_few: bool = False,
    **others: Any,
) -> TrainingChoices:
    """Every installed trainer for a training of a subject, on the dataset named or on its photos as they are now.

    NotFound: no such subject, base or dataset. Conflict: the dataset is another subject's.
    Settings that cannot be used are named in ``problems`` and left out; all else is judged as if they were.
    """
    row = find_base(base or workspace.settings.base)
    with workspace.database.read() as session:
        found = subject_queries.find_subject_row(session, slug)
        subject = subject_queries.to_subject(session, found)
        facts = subject_queries.subject_facts(found)
        photos = session.execute(
            select(PhotoRow, BlobRow).join(BlobRow, BlobRow.digest == PhotoRow.digest).where(PhotoRow.subject == slug)
        ).all()
        taken = [photo_queries.photo_of(photo, blob.media_type, blob.byte_size) for photo, blob in photos]
        frozen = dataset_queries.to_dataset(trainings.dataset_of(session, slug, dataset)).manifest if dataset else None
    recipe, name, problems = _recipe(row, preset, subject.kind, dict(settings or {}))
    items = tuple(
        DatasetItem(
            photo.digest,
            photo.media_type,
            photo.width,
            photo.height,
            facts.trigger,
            Crop(0, 0, photo.width, photo.height),
            (recipe.resolution, recipe.resolution),
        )
        for photo in taken
    )
    manifest = frozen or DatasetManifest("", facts, recipe.resolution, items)
    # What is frozen has its captions filled in.
    written = [plain_braces(item.caption) for item in frozen.items] if frozen else [one.caption for one, _ in photos]
    trained = {item.photo for item in manifest.items}
    request = TrainRequest(
        subject=slug,
        training="training_planned",
        base=row.id,
        trainer="",
        recipe=recipe,
        sample_prompts=tuple(others.get("sample_prompts") or ()),
    )
    budgets = ledger.budgets(workspace, slug)
    offered = sorted(
        (_choice(workspace, replace(request, trainer=one), manifest, budgets) for one in plugins.names(GROUP)),
        key=lambda one: (not one.usable, one.cost, one.trainer),
    )
    asked = trainer or (workspace.settings.trainer if not trainer else "")
    chosen = next((one for one in offered if one.trainer == asked and (trainer or one.usable)), None)
    return TrainingChoices(
        subject=subject,
        base=row,
        bases=tuple(bases().values()),
        preset=name,
        presets={one: recipes.plain(recipes.preset(one, row, subject.kind)) for one in recipes.PRESETS},
        recipe=recipes.plain(recipe),
        fields=recipe_fields(row, recipes.plain(recipes.preset(name, row, subject.kind))),
        photos=len(manifest.items),
        warned=sum(1 for photo in taken if photo.report.reason and photo.digest in trained),
        choices=tuple(offered),
        chosen=chosen or next((one for one in offered if one.usable), None),
        budgets=tuple(budgets),
        findings=(
            *_of_photos(subject, len(manifest.items), allow_few or frozen is not None),
            *cut_captions(workspace, facts, written, row),
        ),
        problems=problems,
    )


def fields(workspace: Workspace, *, base: str = "", preset: str = "") -> tuple[RecipeField, ...]:
    """Every field of a recipe for a base, with its value in the preset."""
    row = find_base(base or workspace.settings.base)
    return recipe_fields(row, recipes.plain(recipes.preset(preset or trainings.DEFAULT_PRESET, row)))


def _recipe(
    base: Base, preset: str, kind: SubjectKind, settings: Mapping[str, Any]
) -> tuple[recipes.Recipe, str, Mapping[str, str]]:
    """The recipe, the preset's name, and what is wrong with single settings; those are left out."""
    name = preset if preset in recipes.PRESETS else trainings.DEFAULT_PRESET
    problems: dict[str, str] = {}
    while True:
        try:
            made = recipes.validate(recipes.preset(name, base, kind, **settings), base)
        except RecipeRefused as refused:
            wrong = {field: words for field, words in refused.fields.items() if field in settings}
            problems |= wrong or {field: words for field, words in refused.fields.items() if field not in problems}
            if not wrong:
                return recipes.preset(name, base, kind), name, problems
            settings = {field: value for field, value in settings.items() if field not in wrong}
        else:
            return made, name, problems


def _of_photos(subject: Subject, photos: int, allow_few: bool) -> list[Finding]:
    found = []
    if not photos:
        found.append(
            Finding("photos-none", Severity.REFUSAL, f"{subject.name} has no photos yet.", "Add 10 to 30 photos.")
        )
    elif photos < MIN_PHOTOS:
        severity = Severity.WARNING if allow_few else Severity.REFUSAL
        found.append(
            Finding(
                "photos-few",
                severity,
                f"{subject.name} has {photos} of the {MIN_PHOTOS} photos that a lora needs at least.",
                "Add more, or say that fewer will do.",
            )
        )
    if subject.kind is SubjectKind.PERSON and subject.consent is None:
        found.append(
            Finding(
                "consent-none",
                Severity.WARNING,
                f"It is not on record that {subject.name} agreed.",
                "Record the consent on the subject's page.",
            )
        )
    return found


def _choice(
    workspace: Workspace, request: TrainRequest, manifest: DatasetManifest, budgets: list[Budget]
) -> TrainerChoice:
    name = request.trainer
    try:
        trainer = workspace.back_ends.trainer(name)
        about = trainer.describe()
    except LimnerError as failure:
        broken = Finding("trainer", Severity.REFUSAL, failure.message, failure.remedy)
        return _record(BackEnd(name, name, ""), Estimate(certain=False), [broken])
    estimate = Estimate(certain=False)
    said: list[Finding] = []
    serves = not about.bases or request.base in about.bases
    try:
        order = training_job.order_of(workspace, request, manifest)
        # That there are no photos is said once.
        said = [one for one in trainer.check(order) if one.code not in ("dataset", "photos")]
        if serves and not any(one.code in ("trainer", "base") for one in said if one.severity is Severity.REFUSAL):
            estimate = trainer.estimate(order)
    except LimnerError as failure:
        said.append(Finding(failure.code, Severity.REFUSAL, failure.message, failure.remedy))
    if not serves:
        words = f"{about.title} trains nothing of {request.base}."
        base = Finding("base", Severity.REFUSAL, words, f"It trains {', '.join(about.bases)}.")
        return _record(about, estimate, [*(one for one in said if one.code == "need"), base])
    refusals = [one for one in said if one.severity is Severity.REFUSAL]
    warnings = [one for one in said if one.severity is Severity.WARNING]
    try:
        check_budgets(budgets, estimate.amount, what="training")
    except SpendingRefused as failure:
        refusals.append(Finding("budget", Severity.REFUSAL, failure.message, failure.remedy))
    asks = False
    try:
        check_consent(estimate, workspace.settings.consent_above, yes=False)
    except ConsentNeeded:
        asks = True
    seconds = None if estimate.seconds is not None else _measured(workspace, request)
    return _record(about, estimate, refusals, warnings, asks=asks, measured=seconds)


def _record(
    about: BackEnd,
    estimate: Estimate,
    refusals: list[Finding],
    warnings: list[Finding] | None = None,
    *,
    asks: bool = False,
    measured: float | None = None,
) -> TrainerChoice:
    return TrainerChoice(
        trainer=about.name,
        title=about.title,
        summary=about.summary,
        vendor=about.vendor,
        cost=estimate.amount,
        seconds=measured if estimate.seconds is None else estimate.seconds,
        measured=estimate.seconds is None and measured is not None,
        certain=estimate.certain,
        note=estimate.note,
        sees_photos=about.sees_photos,
        needs=about.needs,
        limits=about.limits,
        refusals=tuple(refusals),
        warnings=tuple(warnings or ()),
        asks=asks,
    )


def _measured(workspace: Workspace, request: TrainRequest) -> float | None:
    """Seconds that a training takes by the newest ones of its trainer, base and resolution; None: there are none."""
    query = (
        select(TrainingRow)
        .where(
            TrainingRow.trainer == request.trainer,
            TrainingRow.base == request.base,
            TrainingRow.state == JobState.DONE,
        )
        .order_by(TrainingRow.created_at.desc())
        .limit(MEASURED * 4)
    )
    with workspace.database.read() as session:
        runs: list[float] = [
            (row.ended_at - row.started_at).total_seconds() / _pictures(recipes.from_mapping(row.recipe))
            for row in session.scalars(query)
            if row.started_at and row.ended_at and row.recipe["steps"] >= LEAST_STEPS
            if row.recipe["resolution"] == request.recipe.resolution
        ][:MEASURED]
    if not runs:
        return None
    return sorted(runs)[len(runs) // 2] * _pictures(request.recipe)


def _pictures(recipe: recipes.Recipe) -> int:
    """How many pictures a training looks at."""
    return recipe.steps * recipe.batch_size * recipe.gradient_accumulation
