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

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from limner.errors import LimnerError
from limner.pipeline import following, lookups, subjects
from limner.pipeline.workspace import Workspace
from limner.records import (
    Dataset,
    DoctorReport,
    Erasure,
    Generation,
    Image,
    IntakeEntry,
    Job,
    Lora,
    PhotoEntry,
    Publication,
    Reproduction,
    Subject,
    Training,
)
from limner.settings import Settings, read_settings
from limner.types import BackEnd, Base, Consent, Health, SubjectKind, Visibility

__all__ = ["Studio"]


class Studio(AbstractContextManager["Studio"], AbstractAsyncContextManager["Studio"]):
    """One home folder with its subjects, photos, datasets, trainings, loras and images. Safe to open many times."""

    def __init__(self, home: str | Path | None = None, *, settings: Settings | None = None) -> None:
        self.settings: Settings = settings or read_settings(None if home is None else Path(home))
        self._workspace = Workspace(self.settings)

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
        return lookups.subjects(self._workspace)

    def subject(self, slug: str) -> Subject:
        """One subject."""
        return lookups.subject(self._workspace, slug)

    def remove_subject(self, slug: str, *, publications: bool = True) -> Erasure:
        """Erase a subject everywhere, publications included unless told otherwise; say what could not be erased."""
        return subjects.remove(self._workspace, slug, publications=publications)

    # --- photos -------------------------------------------------------------------------------------------------

    def add_photos(self, slug: str, paths: Sequence[str | Path], *, captions: Sequence[str | Path] = ()) -> Job:
        """Take in files, folders, zips and globs. ``captions`` may name a CSV or JSONL; sidecar .txt are found."""
        from limner.pipeline import intake

        return self._started(intake.submit(self._workspace, slug, paths, captions))

    def photos(self, slug: str) -> list[PhotoEntry]:
        """The accepted photos of a subject, in the order of their arrival."""
        return lookups.photos(self._workspace, slug)

    def photo_report(self, slug: str, job: str = "") -> list[IntakeEntry]:
        """What an intake (the newest if none is named) said of each file, the refused ones too."""
        return lookups.photo_report(self._workspace, slug, job)

    def set_caption(self, slug: str, photo: str, caption: str) -> None:
        """Set the caption of a photo (digest, or six or more digits of it); empty goes back to the template."""
        from limner.pipeline import intake

        intake.set_caption(self._workspace, slug, photo, caption)

    def remove_photo(self, slug: str, photo: str) -> None:
        """Take a photo away from a subject; frozen datasets keep it."""
        from limner.pipeline import intake

        intake.remove_photo(self._workspace, slug, photo)

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
        from limner.pipeline import freezing

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
        return lookups.datasets(self._workspace, slug)

    def dataset(self, name: str) -> Dataset:
        """A dataset by its digest (six digits will do), or a subject's newest by its slug."""
        return lookups.dataset(self._workspace, name)

    def package(self, dataset: str, layout: str, destination: str | Path) -> Path:
        """Write a dataset in a trainer's layout (replicate, fal, kohya, ai-toolkit, diffusers); give its path."""
        from limner.pipeline import freezing

        return freezing.package_dataset(self._workspace, dataset, layout, Path(destination)).path

    def crop_sheet(self, dataset: str, destination: str | Path) -> Path:
        """Draw each photo of a dataset with its crop, bucket and caption into one picture."""
        from limner.pipeline import freezing

        return freezing.crop_sheet(self._workspace, dataset, Path(destination))

    # --- training -----------------------------------------------------------------------------------------------

    def train(
        self,
        slug: str,
        *,
        base: str = "",
        trainer: str = "",
        preset: str = "",
        settings: Mapping[str, Any] | None = None,
        dataset: str = "",
        sample_prompts: Sequence[str] = (),
        template: str = "",
        captioner: str = "",
        allow_few: bool = False,
    ) -> Job:
        """Train a lora. ``settings`` are recipe fields over the preset's; RecipeRefused lists all that cannot be used.

        Without a ``dataset`` the photos are frozen as they are now, with the last three options. The job's ``target``
        is the training's id.
        """
        from limner.pipeline import trainings

        freeze = {} if dataset else {"template": template, "captioner": captioner, "allow_few": allow_few}
        return self._started(
            trainings.submit(
                self._workspace,
                slug,
                dataset=dataset,
                base=base,
                trainer=trainer,
                preset=preset,
                settings=settings,
                sample_prompts=sample_prompts,
                **freeze,
            )
        )

    def trainings(self, slug: str = "") -> list[Training]:
        """The trainings, newest first."""
        return lookups.trainings(self._workspace, slug)

    def training(self, training: str) -> Training:
        """One training."""
        return lookups.training(self._workspace, training)

    def resume_training(self, training: str) -> Job:
        """Go on with a stopped training from its last checkpoint."""
        from limner.pipeline import trainings

        return self._started(trainings.resume(self._workspace, self.training(training).id))

    # --- loras and publications ---------------------------------------------------------------------------------

    def loras(self, slug: str = "") -> list[Lora]:
        """The loras, newest first."""
        return lookups.loras(self._workspace, slug)

    def lora(self, name: str) -> Lora:
        """A lora by ``slug`` (newest), ``slug@v2``, or eight or more digits of its digest."""
        return lookups.lora(self._workspace, name)

    def export_lora(self, name: str, destination: str | Path) -> Path:
        """Copy a lora to a file or into a folder of yours."""
        lora = self.lora(name)
        path = Path(destination)
        if path.is_dir():
            path = path / f"{lora.subject}-v{lora.version}.safetensors"
        return self._workspace.blobs.export(lora.digest, path)

    def publish(
        self,
        lora: str,
        *,
        hub: str = "",
        repo: str = "",
        visibility: Visibility | str = Visibility.PRIVATE,
    ) -> Job:
        """Publish a lora with its model card and samples; private unless told otherwise."""
        from limner.pipeline import publishing

        return self._started(
            publishing.submit(self._workspace, lora, hub=hub, repo=repo, visibility=Visibility(visibility))
        )

    def publications(self, slug: str = "") -> list[Publication]:
        """Where loras were published, newest first."""
        return lookups.publications(self._workspace, slug)

    def lora_status(self, lora: str) -> list[tuple[str, str, Health]]:
        """For each publication of a lora: hub, repo, and whether it is ready for use, and by whom."""
        from limner.pipeline import publishing

        return publishing.status(self._workspace, lora)

    # --- pictures -----------------------------------------------------------------------------------------------

    def generate(
        self,
        prompt: str,
        *,
        loras: Sequence[str] = (),
        base: str = "",
        generator: str = "",
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        guidance: float | None = None,
        seed: int | None = None,
        count: int = 1,
    ) -> Job:
        """Draw pictures with loras named ``slug``, ``slug@v2`` or ``slug@v2:0.8``; the job's target is the generation.

        ``width`` and ``height`` are pixels. What is left out is the base's own; picture i is drawn with ``seed`` + i,
        a random seed if none is given. InputRefused for what cannot be drawn, NotFound for a lora that is not here.
        """
        from limner.pipeline import generating

        return self._started(
            generating.submit(
                self._workspace,
                prompt=prompt,
                loras=[generating.parse_lora(words) for words in loras],
                base=base,
                generator=generator,
                width=width,
                height=height,
                steps=steps,
                guidance=guidance,
                seed=seed,
                count=count,
            )
        )

    def generation(self, generation: str) -> Generation:
        """One request for pictures, with the images made so far."""
        return lookups.generation(self._workspace, generation)

    def images(self, slug: str = "", *, limit: int = 50) -> list[Image]:
        """The newest images, of one subject or of all."""
        return lookups.images(self._workspace, slug, limit)

    def image(self, image: int) -> Image:
        """One image by its number."""
        return lookups.image(self._workspace, image)

    def inspect(self, path: str | Path, *, base: str = "") -> dict[str, Any]:
        """What a picture or a lora file says of itself, and whether its signature and digests hold. Plain JSON data.

        A lora's ``problem`` says why it cannot be used on ``base``, or on its own base if none is named.
        """
        from limner.pipeline import inspecting

        return inspecting.inspect_file(Path(path), base)

    def reproduce(self, picture: str | Path) -> Job:
        """Draw a picture again from its own provenance; then ask ``reproduced``."""
        from limner.pipeline import generating

        return self._started(generating.submit_reproduction(self._workspace, Path(picture)))

    def reproduced(self, picture: str | Path, job: Job) -> Reproduction:
        """Whether an ended reproduction gave the same pixels, and what differs if not."""
        from limner.pipeline import generating

        return generating.reproduced(self._workspace, Path(picture), job)

    # --- the whole pipeline -------------------------------------------------------------------------------------

    def run(
        self,
        slug: str,
        photos: Sequence[str | Path],
        prompts: Sequence[str],
        *,
        captions: Sequence[str | Path] = (),
        train: Mapping[str, Any] | None = None,
        freeze: Mapping[str, Any] | None = None,
        publish: Mapping[str, Any] | None = None,
        generate: Mapping[str, Any] | None = None,
        with_base: bool = False,
    ) -> Job:
        """Photos in, pictures out, as one job: intake, dataset, training, publication, one generation a prompt.

        The mappings hold options of the methods of those names. ``with_base`` also draws every prompt without the
        lora, for comparison. All options are checked before anything runs.
        """
        from limner.pipeline import whole

        return self._started(
            whole.submit(
                self._workspace,
                slug,
                photos,
                prompts,
                captions=captions,
                train=train,
                freeze=freeze,
                publish=publish,
                generate=generate,
                with_base=with_base,
            )
        )

    # --- jobs ---------------------------------------------------------------------------------------------------

    def _started(self, job: Job) -> Job:
        self._workspace.ensure_worker()
        return job

    def jobs(self, slug: str = "", *, limit: int = 50) -> list[Job]:
        """The newest jobs first."""
        return lookups.jobs(self._workspace, slug, limit)

    def job(self, job: str) -> Job:
        """A job by its id, or the newest one of a training or generation."""
        return lookups.job(self._workspace, job)

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

    def cancel(self, job: Job | str) -> Job:
        """Ask a job to stop at its next safe point; what was done is kept."""
        return following.cancel(self._workspace, job if isinstance(job, str) else job.id)

    def resume(self, job: Job | str) -> Job:
        """Do a stopped job again from where it stopped, as a new job."""
        return following.resume(self._workspace, job if isinstance(job, str) else job.id)

    def work(self, *, idle_seconds: float | None = None) -> bool:
        """Do jobs in this process until idle for that long (None: for ever); False if another worker lives."""
        from limner.pipeline.worker import work

        return work(self.settings, idle_seconds=idle_seconds)

    # --- what there is ------------------------------------------------------------------------------------------

    def bases(self) -> list[Base]:
        """The bases of the catalog."""
        from limner.catalog import bases

        return list(bases().values())

    def back_ends(self) -> Mapping[str, tuple[BackEnd, ...]]:
        """What each installed trainer, hub, generator and captioner says of itself."""
        from limner.pipeline import doctor

        return doctor.back_ends(self.settings)

    def doctor(self) -> DoctorReport:
        """What is installed, what would be used, what is missing and how to get it."""
        from limner.pipeline import doctor

        return doctor.examine(self._workspace)
