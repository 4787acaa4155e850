"""The public Python API: everything a user can do is a method of Studio.

    from limner import Studio

    with Studio() as studio:
        studio.add_subject("zibbo", kind="character")
        studio.wait(studio.add_photos("zibbo", ["photos/"]))
        studio.wait(studio.train("zibbo"))
        job = studio.wait(studio.generate("a photo of {trigger} on the beach", loras=["zibbo:0.9"]))
        print(studio.generation(job.target).images[0].path)

Quick calls answer at once. Long work gives a Job, done by a worker process that outlives the caller: ``wait`` or
``watch`` it, or in asyncio ``await studio.wait_async(job)`` and ``async for job in studio.watch_async(job)``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from copy import copy
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from limner.errors import LimnerError
from limner.operations.datasets import queries as dataset_queries
from limner.operations.erasure import subject
from limner.operations.generations import queries as generation_queries
from limner.operations.home.workspace import Workspace
from limner.operations.jobs import actions as following
from limner.operations.jobs import queries as job_queries
from limner.operations.loras import queries as lora_queries
from limner.operations.photos import queries as photo_queries
from limner.operations.publications import queries as publication_queries
from limner.operations.runs import demo_subject, resume
from limner.operations.subjects import actions as subjects
from limner.operations.subjects import queries as subject_queries
from limner.operations.trainings import queries as training_queries
from limner.options import GenerateOptions, RunOptions, TrainOptions
from limner.records import (
    Account,
    Check,
    Checkpoint,
    Choices,
    CostSummary,
    Dataset,
    DatasetHealth,
    DoctorReport,
    Erasure,
    Generation,
    HubEntry,
    Image,
    IntakeEntry,
    Job,
    JobEvent,
    Lora,
    OpenPurchase,
    PhotoEntry,
    PromptTemplate,
    ProposedCrop,
    Publication,
    RecipeField,
    Reproduction,
    Route,
    SettingsReport,
    Subject,
    SubjectCard,
    SubjectContents,
    SubjectProposal,
    Training,
    TrainingChoices,
    TrainingRun,
    TrainingSampleEntry,
    Verification,
    WhatIf,
    Wish,
)
from limner.settings import Settings, read_settings
from limner.types import BackEnd, Base, Consent, Crop, Finding, Health, JobState, SubjectKind, TensorNaming, Visibility

if TYPE_CHECKING:
    from limner.errors import WorkerFailed
    from limner.operations.gallery.actions import Gallery
    from limner.operations.grids.actions import Grids
    from limner.operations.home.change_counter import Changes
    from limner.operations.jobs.idempotent_answers import Answers
    from limner.operations.members.actions import Members
    from limner.operations.photos.bulk_captions import Captions
    from limner.operations.uploads.actions import Uploads
    from limner.operations.webhooks.actions import Webhooks
    from limner.store import Database

__all__ = ["Studio"]


class Studio(AbstractContextManager["Studio"], AbstractAsyncContextManager["Studio"]):
    """One home folder with its subjects, photos, datasets, trainings, loras and images. Safe to open many times."""

    def __init__(
        self, home: str | Path | None = None, *, settings: Settings | None = None, from_here: bool = True
    ) -> None:
        """Unless ``from_here`` no lora can be named by a file or address of this machine: who asks sits elsewhere."""
        self._workspace = Workspace(settings or read_settings(None if home is None else Path(home)), _fail_all)
        self._workspace.from_here = from_here

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database. Jobs go on in their worker."""
        self._workspace.close()

    @property
    def settings(self) -> Settings:
        """The settings, with what was changed in ``limner.toml`` meanwhile. What is assigned to one goes before it."""
        return self._workspace.settings

    def owned_by(self, user: str) -> Studio:
        """The same studio, as one user sees it: what others own is not there. Close the first one, not this."""
        theirs = copy(self)
        theirs._workspace = self._workspace.owned_by(user)
        return theirs

    # --- subjects -----------------------------------------------------------------------------------------------

    def add_subject(
        self,
        slug: str,
        *,
        name: str = "",
        kind: SubjectKind | str = SubjectKind.PERSON,
        class_word: str = "",
        trigger: str = "",
        consent: Consent | None = None,
    ) -> Subject:
        """Add a subject. NameRefused for a slug or trigger that cannot be used, Conflict if the slug is taken."""
        return subjects.add(
            self._workspace, slug, name=name, kind=kind, class_word=class_word, trigger=trigger, consent=consent
        )

    def subjects(self) -> list[Subject]:
        """All subjects, by slug."""
        return subject_queries.subjects(self._workspace)

    def subject(self, slug: str) -> Subject:
        """One subject."""
        return subject_queries.subject(self._workspace, slug)

    def subject_cards(self) -> list[SubjectCard]:
        """All subjects at a glance, newest first: best picture, counts, and what runs now."""
        from limner.operations.subjects import overview

        return overview.cards(self._workspace)

    def propose_subject(
        self, name: str, *, kind: str = "person", slug: str = "", trigger: str = "", class_word: str = ""
    ) -> SubjectProposal:
        """The names that a new subject would have, with what speaks against them; nothing is added."""
        from limner.operations.subjects import overview

        return overview.propose(
            self._workspace, name=name, kind=kind, slug=slug, trigger=trigger, class_word=class_word
        )

    def add_demo_subject(self) -> Job:
        """Add the demo's subject, zibbo, with the photos that ship with Limner; the same again is no second one."""

        return self._started(demo_subject.add_demo(self._workspace))

    def subject_contents(self, slug: str) -> SubjectContents:
        """What ``remove_subject`` would take along, and which jobs have to end first."""

        return subject.contents(self._workspace, slug)

    def record_consent(self, slug: str, consent: Consent) -> Subject:
        """Put on record who agreed to what; an earlier consent stays on record as withdrawn."""
        return subjects.record_consent(self._workspace, slug, consent)

    def withdraw_consent(self, slug: str) -> Subject:
        """Note that the consent was withdrawn; erase or unpublish what should not stay."""
        return subjects.withdraw_consent(self._workspace, slug)

    def remove_subject(self, slug: str, *, publications: bool = True) -> Erasure:
        """Erase a subject everywhere, publications included unless told otherwise; say what could not be erased."""
        return subject.remove(self._workspace, slug, publications=publications)

    def erasures(self, slug: str = "") -> list[Erasure]:
        """What ``remove_subject`` said in the last thirty days, of subjects of that slug or of all, newest first."""
        return subject.erasures(self._workspace, slug)

    # --- photos -------------------------------------------------------------------------------------------------

    def add_photos(
        self,
        slug: str,
        paths: Sequence[str | Path] = (),
        *,
        captions: Sequence[str | Path] = (),
        replace_captions: bool = False,
        captions_from_photos: bool = False,
    ) -> Job:
        """Take in files, folders, zips and globs. ``captions`` may name tables; captions beside photos are found.

        Captions also reach photos that are there: empty ones are filled, others kept unless ``replace_captions``;
        ``captions.offered`` has what was not taken. ``captions_from_photos``: also what the photos' metadata says.
        """
        from limner.operations.photos import job as intake

        job = intake.submit(
            self._workspace,
            slug,
            paths,
            captions,
            replace_captions=replace_captions,
            captions_from_photos=captions_from_photos,
        )
        return self._started(job)

    def photos(self, slug: str) -> list[PhotoEntry]:
        """The accepted photos of a subject, in the order of their arrival."""
        return photo_queries.photos(self._workspace, slug)

    def photo_report(self, slug: str, job: str = "") -> list[IntakeEntry]:
        """What an intake (the newest if none is named) said of each file, the refused ones too."""
        return photo_queries.photo_report(self._workspace, slug, job)

    def set_caption(self, slug: str, photo: str, caption: str) -> None:
        """Set the caption of a photo (digest, or six or more digits of it); empty goes back to the template."""
        from limner.operations.photos import actions as photo_editing

        photo_editing.set_captions(self._workspace, slug, {photo: caption})

    def set_captions(self, slug: str, captions: Mapping[str, str]) -> list[PhotoEntry]:
        """Set the captions of several photos by their digests, all or none; empty goes back to the template.

        CaptionRefused names the photo whose caption cannot be used, NotFound the digest that is no photo's.
        """
        from limner.operations.photos import actions as photo_editing

        return photo_editing.set_captions(self._workspace, slug, captions)

    @property
    def captions(self) -> Captions:
        """Captions changed many at once: looked at first, taken back afterwards."""
        from limner.operations.photos.bulk_captions import Captions

        return Captions(self._workspace)

    def set_crop(self, slug: str, photo: str, crop: Crop | None) -> PhotoEntry:
        """Choose the part of a photo that is trained on, in its pixels; None leaves the choice to Limner again.

        InputRefused: it is not inside the photo, or has a side under 64 pixels.
        """
        from limner.operations.photos import actions as photo_editing

        return photo_editing.set_crop(self._workspace, slug, photo, crop)

    def change_photo(
        self, slug: str, photo: str, *, caption: str | None = None, crop: Crop | None = None, changes_crop: bool = False
    ) -> PhotoEntry:
        """Set a photo's caption, its crop, or both at once or neither. Errors of ``set_captions`` and ``set_crop``."""
        from limner.operations.photos import actions as photo_editing

        return photo_editing.change_photo(
            self._workspace, slug, photo, caption=caption, crop=crop, changes_crop=changes_crop
        )

    def proposed_crops(
        self, slug: str, photos: Sequence[str] = (), *, base: str = "", resolution: int | None = None
    ) -> list[ProposedCrop]:
        """What freezing would take of each photo named, or of all, for a base: crop, bucket, and who chose it."""
        from limner.operations.photos import actions as photo_editing

        return photo_editing.proposed_crops(self._workspace, slug, photos, base=base, resolution=resolution)

    def crop_picture(
        self, slug: str, photo: str, *, crop: Crop | None = None, base: str = "", resolution: int | None = None
    ) -> bytes:
        """What a training would see of a photo: a JPEG in the size of its bucket. ``crop`` tries one that is not kept.

        InputRefused: the crop is not inside the photo, or has a side under 64 pixels.
        """
        from limner.operations.photos import actions as photo_editing

        return photo_editing.crop_picture(self._workspace, slug, photo, crop=crop, base=base, resolution=resolution)

    def photo(self, slug: str, photo: str) -> PhotoEntry:
        """One photo of a subject by its digest, or by six or more digits of it."""
        from limner.operations.photos import actions as photo_editing

        return photo_editing.photo(self._workspace, slug, photo)

    def photo_health(self, slug: str, *, base: str = "", resolution: int | None = None) -> DatasetHealth:
        """How fit the photos are as a set for a training on a base: sizes, shapes, framing, what is alike, captions."""
        from limner.operations.photos import dataset_health as health

        return health.photo_health(self._workspace, slug, base=base, resolution=resolution)

    def photo_findings(
        self, slug: str, photo: str, *, base: str = "", resolution: int | None = None
    ) -> tuple[Finding, ...]:
        """What the health says of one photo by itself: its pixels, its light, its caption."""
        from limner.operations.photos import dataset_health as health

        return health.photo_findings(self._workspace, slug, photo, base=base, resolution=resolution)

    def remove_photo(self, slug: str, photo: str) -> None:
        """Take a photo away from a subject; frozen datasets keep it."""
        from limner.operations.photos import actions as photo_editing

        photo_editing.remove_photo(self._workspace, slug, photo)

    @property
    def uploads(self) -> Uploads:
        """Files on their way in from elsewhere: received piece by piece, resumed, taken in as one batch."""
        from limner.operations.uploads.actions import Uploads

        return Uploads(self._workspace, self._started)

    # --- datasets -----------------------------------------------------------------------------------------------

    def freeze(
        self,
        slug: str,
        *,
        base: str = "",
        resolution: int | None = None,
        template: str = "",
        captioner: str = "",
        allow_few: bool = False,
    ) -> Dataset:
        """Freeze the subject's photos, captions and crops. The same content gives the same dataset."""
        from limner.operations.datasets import job as freezing

        return freezing.freeze(
            self._workspace,
            slug,
            base=base,
            resolution=resolution,
            template=template,
            captioner=captioner,
            allow_few=allow_few,
        )

    def datasets(self, slug: str = "") -> list[Dataset]:
        """The frozen datasets, newest first."""
        return dataset_queries.datasets(self._workspace, slug)

    def dataset(self, name: str) -> Dataset:
        """A dataset by its digest (six digits will do), or a subject's newest by its slug."""
        return dataset_queries.dataset(self._workspace, name)

    def package(self, dataset: str, layout: str, destination: str | Path, *, zipped: bool = False) -> Path:
        """Write a dataset in a trainer's layout (replicate, fal, kohya, ai-toolkit, diffusers); give its path.

        ``zipped`` makes one zip also of the layouts that are folders.
        """
        from limner.operations.datasets import job as freezing

        return freezing.package_dataset(self._workspace, dataset, layout, Path(destination), zipped=zipped).path

    def crop_sheet(self, dataset: str, destination: str | Path) -> Path:
        """Draw each photo of a dataset with its crop, bucket and caption into one picture."""
        from limner.operations.datasets import job as freezing

        return freezing.crop_sheet(self._workspace, dataset, Path(destination))

    # --- training -----------------------------------------------------------------------------------------------

    @overload
    def train(
        self, slug: str, *, yes: bool = False, what_if: Literal[True], **options: Unpack[TrainOptions]
    ) -> WhatIf: ...
    @overload
    def train(
        self, slug: str, *, yes: bool = False, what_if: Literal[False] = False, **options: Unpack[TrainOptions]
    ) -> Job: ...
    def train(
        self, slug: str, *, yes: bool = False, what_if: bool = False, **options: Unpack[TrainOptions]
    ) -> Job | WhatIf:
        """Train a lora. RecipeRefused lists all settings that cannot be used; the job's ``target`` is the training.

        ConsentNeeded: it costs more than goes without asking, and no ``yes`` was said. ``what_if``: give the plan
        with the exact requests and the price instead; nothing is sent that costs.
        """
        from limner.operations.trainings import actions as trainings

        return self._started(trainings.submit(self._workspace, slug, yes=yes, what_if=what_if, **options))

    def trainings(self, slug: str = "") -> list[Training]:
        """The trainings, newest first."""
        return training_queries.trainings(self._workspace, slug)

    def training(self, training: str) -> Training:
        """One training."""
        return training_queries.training(self._workspace, training)

    def training_choices(self, slug: str, **options: Unpack[TrainOptions]) -> TrainingChoices:
        """Every trainer for a training: what it would cost and take, who sees the photos, or why it cannot.

        Nothing is sent and nothing frozen. The options are those of ``train``; a setting that cannot be used is named.
        """
        from limner.operations.trainings import offers as training_choices

        return training_choices.choices(self._workspace, slug, **options)

    def recipe_fields(self, *, base: str = "", preset: str = "") -> tuple[RecipeField, ...]:
        """Every field of a recipe in words, with what is allowed and its value in the preset."""
        from limner.operations.trainings import offers as training_choices

        return training_choices.fields(self._workspace, base=base, preset=preset)

    def training_run(self, training: str) -> TrainingRun:
        """One training with its samples, checkpoints, cost and log."""
        from limner.operations.trainings import run_view as training_views

        return training_views.run(self._workspace, training)

    def training_samples(self, training: str) -> list[TrainingSampleEntry]:
        """The pictures drawn while training, by step and prompt; they come while it runs."""
        from limner.operations.trainings import run_view as training_views

        return training_views.samples(self._workspace, training)

    def training_log(self, training: str) -> str:
        """The end of the trainer's log, without secrets; "" where there is none."""
        from limner.operations.trainings import run_view as training_views

        return training_views.log(self._workspace, training)

    @overload
    def resume_training(self, training: str, *, yes: bool = False, what_if: Literal[True]) -> WhatIf: ...
    @overload
    def resume_training(self, training: str, *, yes: bool = False, what_if: Literal[False] = False) -> Job: ...
    def resume_training(self, training: str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
        """Go on with a stopped training from its last checkpoint, or anew, at its price, where a vendor keeps none."""
        from limner.operations.trainings import actions as trainings

        found = self.training(training).id
        return self._started(trainings.resume(self._workspace, found, yes=yes, what_if=what_if))

    def checkpoints(self, training: str) -> list[Checkpoint]:
        """The checkpoints that a training kept, by step. A generation names one as a lora: ``training_1f0c…#100``."""
        from limner.operations.trainings import checkpoints as picking

        return picking.checkpoints(self._workspace, training)

    def pick_checkpoint(self, training: str, step: int) -> Lora:
        """Make a checkpoint the subject's next version. The same weights again give the lora that is there."""
        from limner.operations.trainings import checkpoints as picking

        return picking.pick(self._workspace, training, step)

    # --- loras and publications ---------------------------------------------------------------------------------

    def loras(self, slug: str = "") -> list[Lora]:
        """The loras, newest first."""
        return lora_queries.loras(self._workspace, slug)

    def lora(self, name: str) -> Lora:
        """A lora by ``slug`` (newest), ``slug@v2``, or eight or more digits of its digest."""
        return lora_queries.lora(self._workspace, name)

    def export_lora(self, name: str, destination: str | Path, *, naming: TensorNaming | str = "") -> Path:
        """Write a lora to a file or into a folder of yours, as it is or in another tensor naming: kohya or bfl.

        ``original``: the LoKr or LoHa that it came as, byte for byte.
        """
        lora = self.lora(name)
        path = Path(destination)
        if path.is_dir():
            path = path / f"{lora.subject}-v{lora.version}.safetensors"
        if naming in ("", lora.naming):
            return self._workspace.blobs.export(lora.digest, path)
        from limner.operations.loras import export as exporting

        self._workspace.blobs.path(lora.digest)
        if naming == exporting.ORIGINAL:
            return exporting.export_original(self._workspace, lora, path)
        return exporting.export_as(lora, str(naming), path)

    def lora_file(self, name: str) -> Path:
        """The weights of a lora as they are stored, checked; not to be changed. StorageFailed: they are damaged."""
        return self._workspace.blobs.path(self.lora(name).digest)

    def import_lora(
        self,
        source: str | Path,
        *,
        subject: str,
        kind: SubjectKind | str = SubjectKind.STYLE,
        trigger: str = "",
        name: str = "",
        base: str = "",
        rank: int = 0,
        drop_additions: bool = False,
        from_here: bool | None = None,
    ) -> Lora:
        """Adopt a LoRA from a file, ``owner/repo`` of the Hugging Face Hub or an https address, as a subject's version.

        What was noticed is in its ``findings``. ``drop_additions`` leaves out what no LoRA can hold: changes of biases
        and whole weights. A LoKr or LoHa becomes the nearest LoRA, of ``rank`` if one is given.
        LoraRefused: it is none for a base that Limner knows; BaseUnclear: it fits several, so name the ``base``. The
        same weights again give the lora that is there.
        Unless ``from_here``, by default the studio's, the source must not be a file or an address of this machine.
        """
        from limner.operations.loras import adopt as importing

        return importing.import_lora(
            self._workspace,
            source,
            subject=subject,
            kind=kind,
            trigger=trigger,
            name=name,
            base=base,
            rank=rank,
            drop_additions=drop_additions,
            from_here=from_here,
        )

    def fetch_lora(
        self,
        source: str,
        *,
        subject: str,
        kind: SubjectKind | str = SubjectKind.STYLE,
        trigger: str = "",
        name: str = "",
        base: str = "",
        rank: int = 0,
        drop_additions: bool = False,
        from_here: bool | None = None,
    ) -> Job:
        """``import_lora`` as a job, for what has to be fetched: ``owner/repo`` of the Hub or an https address.

        It tells how far it is, goes on where it broke off, and its result names the lora. What can be known at once is
        refused at once: names, an address that may not be used, a repo or file that is not there.
        """
        from limner.operations.loras import job as fetching

        return self._started(
            fetching.submit(
                self._workspace,
                source,
                subject=subject,
                kind=kind,
                trigger=trigger,
                name=name,
                base=base,
                rank=rank,
                drop_additions=drop_additions,
                from_here=from_here,
            )
        )

    def model_card(self, lora: str) -> str:
        """The model card as it would be published now: a YAML header and Markdown."""
        from limner.operations.publications import lora_card as lora_editing

        return lora_editing.card_text(self._workspace, lora)

    def set_card(self, lora: str, words: str) -> Lora:
        """Keep your own words (Markdown) for a lora's model card; "" takes them away. The next publication has them."""
        from limner.operations.publications import lora_card as lora_editing

        return lora_editing.set_card(self._workspace, lora, words)

    def delete_lora(self, lora: str, *, unpublish: bool = False) -> Erasure:
        """Delete one version and its weights; pictures made with it stay. Conflict: it is published, or a job uses it.

        ``unpublish`` also deletes the repos that it was published in, with all versions in them.
        """
        from limner.operations.publications import lora_card as lora_editing

        return lora_editing.delete_lora(self._workspace, lora, unpublish=unpublish)

    def publish(
        self,
        lora: str,
        *,
        hub: str = "",
        repo: str = "",
        visibility: Visibility | str = Visibility.PRIVATE,
    ) -> Job:
        """Publish a lora with its model card and samples; private unless told otherwise."""
        from limner.operations.publications import job as publishing

        return self._started(
            publishing.submit(self._workspace, lora, hub=hub, repo=repo, visibility=Visibility(visibility))
        )

    def publications(self, slug: str = "") -> list[Publication]:
        """Where loras were published, newest first."""
        return publication_queries.publications(self._workspace, slug)

    def lora_status(self, lora: str) -> list[tuple[str, str, Health]]:
        """For each publication of a lora: hub, repo, and whether it is ready for use, and by whom."""
        from limner.operations.publications import job as publishing

        return publishing.status(self._workspace, lora)

    def hub_listing(self, hub: str = "") -> list[HubEntry]:
        """What Limner published on a hub, from whatever machine, with the loras here that it is."""
        from limner.operations.publications import actions as published

        return published.listing(self._workspace, hub)

    def set_lora_visibility(
        self, lora: str, visibility: Visibility | str, *, hub: str = ""
    ) -> list[tuple[str, str, Visibility]]:
        """Open or close the repos of a lora; for each: hub, repo, and the visibility read back afterwards."""
        from limner.operations.publications import actions as published

        return published.set_visibility(self._workspace, lora, Visibility(visibility), hub=hub)

    def unpublish(self, lora: str, *, hub: str = "") -> list[tuple[str, str]]:
        """Delete the repos that a lora was published in, with all versions in them; (hub, repo) of each."""
        from limner.operations.publications import actions as published

        return published.unpublish(self._workspace, lora, hub=hub)

    # --- pictures -----------------------------------------------------------------------------------------------

    @overload
    def generate(
        self, prompt: str, *, yes: bool = False, what_if: Literal[True], **options: Unpack[GenerateOptions]
    ) -> WhatIf: ...
    @overload
    def generate(
        self, prompt: str, *, yes: bool = False, what_if: Literal[False] = False, **options: Unpack[GenerateOptions]
    ) -> Job: ...
    def generate(
        self, prompt: str, *, yes: bool = False, what_if: bool = False, **options: Unpack[GenerateOptions]
    ) -> Job | WhatIf:
        """Draw pictures, with one or several loras or none; the job's target is the generation.

        InputRefused for what cannot be drawn, NotFound for a lora that is not here, ConsentNeeded for what costs more
        than goes without asking. ``what_if``: give the plan with the exact requests and the price instead.
        """
        from limner.operations.generations import actions as generating

        named = [generating.parse_lora(words) for words in options.get("loras", ())]
        others: dict[str, Any] = {**options, "loras": named}
        return self._started(generating.submit(self._workspace, prompt=prompt, yes=yes, what_if=what_if, **others))

    def choices(self, prompt: str = "", **options: Unpack[GenerateOptions]) -> Choices:
        """Every generator for a wish: what it would cost and take, or why it cannot draw it here and what mends that.

        Nothing is sent that costs. The errors of ``generate`` where the wish itself cannot be.
        """
        from limner.operations.generations import actions as generating
        from limner.operations.generations import offers as choices

        named = [generating.parse_lora(words) for words in options.get("loras", ())]
        others: dict[str, Any] = {**options, "loras": named}
        return choices.choices(self._workspace, prompt=prompt, **others)

    def wish_of(self, thing: int | str) -> Wish:
        """What was asked for when a picture (its number) or a generation (its id) was made, to ask for it again."""
        from limner.operations.generations import offers as choices

        return choices.wish_of(self._workspace, thing)

    def prompt_templates(self, kind: SubjectKind | str = "") -> list[PromptTemplate]:
        """Prompts to begin with, for one kind of subject or all."""
        from limner.catalog.prompts import prompt_templates

        return prompt_templates(str(kind))

    def generation(self, generation: str) -> Generation:
        """One request for pictures, with the images made so far."""
        return generation_queries.generation(self._workspace, generation)

    def images(self, slug: str = "", *, limit: int = 50) -> list[Image]:
        """The newest images, of one subject or of all."""
        return generation_queries.images(self._workspace, slug, limit)

    def image(self, image: int) -> Image:
        """One image by its number."""
        return generation_queries.image(self._workspace, image)

    def save_image(self, image: int, destination: str | Path) -> Path:
        """Copy a picture to a file of yours, whole and sound or not at all. StorageFailed: it is damaged here."""
        return self._workspace.blobs.export(self.image(image).digest, Path(destination))

    def inspect(self, path: str | Path, *, base: str = "") -> dict[str, Any]:
        """What a picture or a lora file says of itself, and whether its signature and digests hold. Plain JSON data.

        A lora's ``problem`` says why it cannot be used on ``base``, or on its own base if none is named.
        """
        from limner.operations.loras import inspect as inspecting

        return inspecting.inspect_file(Path(path), base)

    @property
    def answers(self) -> Answers:
        """What requests with an idempotency key were answered, so that the same one sent again is done once."""
        from limner.operations.jobs.idempotent_answers import Answers

        return Answers(self._workspace)

    @property
    def webhooks(self) -> Webhooks:
        """Addresses that are told of what happens to jobs."""
        from limner.operations.webhooks.actions import Webhooks

        return Webhooks(self._workspace)

    @property
    def members(self) -> Members:
        """Who may use this home through the web: users, their sessions, API tokens."""
        from limner.operations.members.actions import Members

        return Members(self._workspace)

    @property
    def grids(self) -> Grids:
        """Pictures side by side over two axes, such as checkpoint and strength, and votes between them."""
        from limner.operations.grids.actions import Grids

        return Grids(self._workspace)

    @property
    def gallery(self) -> Gallery:
        """All pictures by their thousands: found, shown, marked as favourites, packed into zips and deleted."""
        from limner.operations.gallery.actions import Gallery

        return Gallery(self._workspace)

    @overload
    def reproduce(self, picture: str | Path, *, yes: bool = False, what_if: Literal[True]) -> WhatIf: ...
    @overload
    def reproduce(self, picture: str | Path, *, yes: bool = False, what_if: Literal[False] = False) -> Job: ...
    def reproduce(self, picture: str | Path, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
        """Draw a picture again from its own provenance; then ask ``reproduced``."""
        from limner.operations.generations import reproduce as reproducing

        return self._started(reproducing.submit(self._workspace, Path(picture), yes=yes, what_if=what_if))

    def reproduced(self, picture: str | Path, job: Job) -> Reproduction:
        """Whether an ended reproduction gave the same pixels, and what differs if not."""
        from limner.operations.generations import reproduce as reproducing

        return reproducing.reproduced(self._workspace, Path(picture), job)

    # --- the whole pipeline -------------------------------------------------------------------------------------

    @overload
    def run(
        self,
        slug: str,
        photos: Sequence[str | Path],
        prompts: Sequence[str],
        *,
        yes: bool = False,
        what_if: Literal[True],
        **options: Unpack[RunOptions],
    ) -> WhatIf: ...
    @overload
    def run(
        self,
        slug: str,
        photos: Sequence[str | Path],
        prompts: Sequence[str],
        *,
        yes: bool = False,
        what_if: Literal[False] = False,
        **options: Unpack[RunOptions],
    ) -> Job: ...
    def run(
        self,
        slug: str,
        photos: Sequence[str | Path],
        prompts: Sequence[str],
        *,
        yes: bool = False,
        what_if: bool = False,
        **options: Unpack[RunOptions],
    ) -> Job | WhatIf:
        """Photos in, pictures out, as one job: intake, dataset, training, publication, one generation a prompt.

        All options are checked before anything runs: whether the lora fits the generator and can get there, and what
        it costs in all (ConsentNeeded). ``what_if``: give the plans and the price instead.
        """
        from limner.operations.runs import actions as whole

        return self._started(whole.submit(self._workspace, slug, photos, prompts, yes=yes, what_if=what_if, **options))

    # --- jobs ---------------------------------------------------------------------------------------------------

    @overload
    def _started(self, made: Job) -> Job: ...
    @overload
    def _started(self, made: Job | WhatIf) -> Any: ...
    def _started(self, made: Job | WhatIf) -> Any:
        if isinstance(made, Job):
            self._workspace.ensure_worker()
        return made

    def wait_for_worker(self, seconds: float = 30.0) -> None:
        """Wait until a worker that was just started is at work. WorkerFailed: none could be started."""
        self._workspace.worker_start.wait(seconds)

    def jobs(
        self,
        slug: str = "",
        *,
        limit: int = 50,
        before: tuple[datetime, str] | None = None,
        states: Sequence[JobState] = (),
        kind: str = "",
    ) -> list[Job]:
        """The newest jobs first, of those states and that kind where any are named.

        ``before``: only those older than the job with this ``created_at`` and ``id``.
        """
        return job_queries.jobs(self._workspace, slug, limit, before, states, kind)

    def job(self, job: str) -> Job:
        """A job by its id, or the newest one of a training or generation."""
        return job_queries.job(self._workspace, job)

    def job_events(self, job: str) -> list[JobEvent]:
        """What happened to a job, in that order."""
        from limner.operations.trainings import run_view as training_views

        return training_views.events(self._workspace, job)

    def watch(self, job: Job | str) -> Iterator[Job]:
        """Give the job whenever it changes, until it has ended."""
        return following.watch(self._workspace, job if isinstance(job, str) else job.id)

    def watch_async(self, job: Job | str) -> AsyncIterator[Job]:
        """``watch`` for asyncio."""
        return following.watch_async(self._workspace, job if isinstance(job, str) else job.id)

    def wait(self, job: Job | str) -> Job:
        """Wait until a job is done; raise the error that it ended with, Cancelled included."""
        ended = None
        for current in self.watch(job):
            ended = current
        return self._done(ended)

    async def wait_async(self, job: Job | str) -> Job:
        """``wait`` for asyncio."""
        ended = None
        async for current in self.watch_async(job):
            ended = current
        return self._done(ended)

    @staticmethod
    def _done(job: Job | None) -> Job:
        if job is None:
            raise LimnerError("The job ended before it could be looked at.")
        failure = following.failure_of(job)
        if failure is not None:
            raise failure
        return job

    def once(self, wish: str, make: Callable[[], Job]) -> Job:
        """Start a job at most once for a wish, an id of your own: ``studio.once(id, lambda: studio.train("zibbo"))``.

        The same wish again gives the same job. If ``make`` raises nothing was started, and it may be tried again.
        """
        from limner.operations.jobs import idempotency as wishes

        return wishes.once(self._workspace, wish, make)

    def changes(self) -> Changes:
        """A cheap look at whether anything has changed at all, for who follows many things at once. Close it."""
        from limner.operations.home.change_counter import Changes

        return Changes(self._workspace)

    def go_on(self) -> None:
        """Start a worker if a job has not ended and none lives, as whoever watches a job does by itself."""
        following.go_on(self._workspace)

    def cancel(self, job: Job | str) -> Job:
        """Ask a job to stop at its next safe point; what was done is kept."""
        return following.cancel(self._workspace, job if isinstance(job, str) else job.id)

    @overload
    def resume(self, job: Job | str, *, yes: bool = False, what_if: Literal[True]) -> WhatIf: ...
    @overload
    def resume(self, job: Job | str, *, yes: bool = False, what_if: Literal[False] = False) -> Job: ...
    def resume(self, job: Job | str, *, yes: bool = False, what_if: bool = False) -> Job | WhatIf:
        """Do a stopped job again from where it stopped, as a new job; ConsentNeeded where that may be paid anew."""
        name = job if isinstance(job, str) else job.id
        return self._started(resume.resume(self._workspace, name, yes=yes, what_if=what_if))

    def work(self, *, idle_seconds: float | None = None) -> bool:
        """Do jobs in this process until idle for that long (None: for ever); False if another worker lives."""
        from limner.operations.jobs.worker import work

        return work(self.settings, idle_seconds=idle_seconds)

    # --- money and routes ---------------------------------------------------------------------------------------

    def costs(self, slug: str = "", *, vendor: str = "", days: int | None = None) -> CostSummary:
        """The ledger: what was estimated and paid, by subject, vendor and day, and how the budgets stand."""
        from limner.operations.payments import ledger as costs

        return costs.summary(self._workspace, slug, vendor=vendor, days=days)

    def open_purchases(self) -> list[OpenPurchase]:
        """Paid calls of which nobody can tell whether they were done; ``decide_purchase`` settles each."""
        from limner.operations.payments import purchases as paying

        return paying.undecided(self._workspace)

    def decide_purchase(self, tag: str, decision: str) -> OpenPurchase:
        """Say what became of an open purchase: ``again`` sends it again, ``drop`` leaves it, ``paid`` books it."""
        from limner.operations.payments import purchases as paying

        return paying.decide(self._workspace, tag, decision)

    def routes(self, *, base: str = "", subject: str = "") -> list[Route]:
        """Every way from photos to pictures: whether it works here and now, its price and time, who sees the photos."""
        from limner.operations.runs import routes

        return routes.routes(self._workspace, base=base, subject=subject)

    # --- settings -----------------------------------------------------------------------------------------------

    def settings_report(self) -> SettingsReport:
        """All settings: what each is for, its value now, and where that comes from."""
        from limner.operations.home import settings_store as settings_file

        return settings_file.report(self._workspace)

    def change_settings(self, values: Mapping[str, Any], *, seen: str = "") -> SettingsReport:
        """Change settings in ``limner.toml``, all or none; they hold in this process at once, None for the default.

        InputRefused says of each what is wrong (``fields``), Conflict what cannot be changed here, ChangedMeanwhile
        that the file is not as it was ``seen`` (the report's).
        """
        from limner.operations.home import settings_store as settings_file

        return settings_file.change(self._workspace, values, seen=seen)

    def log_tail(self, lines: int = 200) -> str:
        """The last lines of the worker's log, without secrets."""
        from limner.operations.home.log_tail import log_tail

        return log_tail(self._workspace.log_file, lines)

    # --- accounts -----------------------------------------------------------------------------------------------

    def accounts(self, *, live: bool = False) -> list[Account]:
        """The vendors' accounts: where each token was found; with ``live`` also whether it is good, and whose it is."""
        from limner.operations.home import accounts

        return accounts.accounts(self.settings, live=live)

    def login(self, vendor: str, token: str) -> Account:
        """Check a token by a call that costs nothing, and keep it in the system's keyring. AccountRefused."""
        from limner.operations.home import accounts

        return accounts.login(self.settings, vendor, token)

    def logout(self, vendor: str) -> Account:
        """Forget a token that ``login`` kept; one in the environment stays."""
        from limner.operations.home import accounts

        return accounts.logout(self.settings, vendor)

    # --- what there is ------------------------------------------------------------------------------------------

    def bases(self) -> list[Base]:
        """The bases of the catalog."""
        from limner.catalog import bases

        return list(bases().values())

    def back_ends(self) -> Mapping[str, tuple[BackEnd, ...]]:
        """What each installed trainer, hub, generator and captioner says of itself."""
        from limner.operations.maintenance import doctor

        return doctor.back_ends(self.settings)

    def verify(self, *, remove_stray: bool = False) -> Job:
        """Read every file of the home again and hold rows and files against each other; ``verification`` says the rest.

        ``remove_stray``: delete files that belong to nothing.
        """
        from limner.operations.maintenance import verification as verifying

        return self._started(verifying.submit(self._workspace, remove_stray=remove_stray))

    def verification(self) -> Verification | None:
        """What the last ``verify`` that came to its end found; None if there was none."""
        from limner.operations.jobs.queries import last_verification

        return last_verification(self._workspace)

    def doctor(self, *, live: bool = False, tell: Callable[[Check], object] = lambda _: None) -> DoctorReport:
        """What is installed, what would be used, what is missing and how to get it; ``live`` asks the vendors too.

        ``tell`` is given each line of the report as soon as it is known.
        """
        from limner.operations.maintenance import doctor

        return doctor.examine(self._workspace, live=live, tell=tell)


def _fail_all(database: Database, error: WorkerFailed) -> None:
    # the jobs' rules are loaded by the few who come here
    from limner.operations.jobs.lifecycle import fail_all

    fail_all(database, error)
