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

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from limner.operations.home.workspace import Workspace
from limner.options import GenerateOptions, RunOptions, TrainOptions
from limner.records import Job
from limner.settings import Settings, read_settings

if TYPE_CHECKING:
    from limner.errors import WorkerFailed
    from limner.operations.datasets.actions import Datasets
    from limner.operations.erasure.actions import Erasures
    from limner.operations.gallery.actions import Gallery
    from limner.operations.generations.actions import Generations
    from limner.operations.grids.actions import Grids
    from limner.operations.home.accounts import Accounts
    from limner.operations.home.settings_store import SettingsFile
    from limner.operations.jobs.actions import Jobs
    from limner.operations.jobs.idempotent_answers import Answers
    from limner.operations.loras.actions import Loras
    from limner.operations.maintenance.actions import Maintenance
    from limner.operations.members.actions import Members
    from limner.operations.payments.actions import Payments
    from limner.operations.photos.actions import Photos
    from limner.operations.photos.bulk_captions import Captions
    from limner.operations.publications.actions import Publications
    from limner.operations.runs.actions import Runs
    from limner.operations.subjects.actions import Subjects
    from limner.operations.trainings.actions import Trainings
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

    @property
    def subjects(self) -> Subjects:
        """Who or what is learned, and who agreed to it."""
        from limner.operations.subjects.actions import Subjects

        return Subjects(self._workspace)

    @property
    def erasure(self) -> Erasures:
        """A subject erased everywhere, with all that was made of it."""
        from limner.operations.erasure.actions import Erasures

        return Erasures(self._workspace)

    @property
    def photos(self) -> Photos:
        """The photos of a subject: taken in, captioned, cropped, judged as a set."""
        from limner.operations.photos.actions import Photos

        return Photos(self._workspace)

    @property
    def datasets(self) -> Datasets:
        """Photos, captions and crops, frozen."""
        from limner.operations.datasets.actions import Datasets

        return Datasets(self._workspace)

    @property
    def trainings(self) -> Trainings:
        """Trainings: started, looked at, gone on with, picked from."""
        from limner.operations.trainings.actions import Trainings

        return Trainings(self._workspace)

    @property
    def loras(self) -> Loras:
        """LoRAs: here, from elsewhere, written to files."""
        from limner.operations.loras.actions import Loras

        return Loras(self._workspace)

    @property
    def publications(self) -> Publications:
        """LoRAs on hubs: published, opened, closed, taken back, and their model cards."""
        from limner.operations.publications.actions import Publications

        return Publications(self._workspace)

    @property
    def generations(self) -> Generations:
        """Pictures asked for: what they would cost, drawing them, what came of it."""
        from limner.operations.generations.actions import Generations

        return Generations(self._workspace)

    @property
    def runs(self) -> Runs:
        """The whole way from photos to pictures as one job, and going on with what stopped."""
        from limner.operations.runs.actions import Runs

        return Runs(self._workspace)

    @property
    def jobs(self) -> Jobs:
        """Long work, done by a worker process that outlives the caller."""
        from limner.operations.jobs.actions import Jobs

        return Jobs(self._workspace)

    @property
    def payments(self) -> Payments:
        """What was spent, and paid calls that only the user can settle."""
        from limner.operations.payments.actions import Payments

        return Payments(self._workspace)

    @property
    def accounts(self) -> Accounts:
        """The vendors' accounts."""
        from limner.operations.home.accounts import Accounts

        return Accounts(self._workspace)

    @property
    def settings_file(self) -> SettingsFile:
        """The settings as ``limner.toml`` has them."""
        from limner.operations.home.settings_store import SettingsFile

        return SettingsFile(self._workspace)

    @property
    def maintenance(self) -> Maintenance:
        """Whether all is there and whole."""
        from limner.operations.maintenance.actions import Maintenance

        return Maintenance(self._workspace)

    @property
    def captions(self) -> Captions:
        """Captions changed many at once: looked at first, taken back afterwards."""
        from limner.operations.photos.bulk_captions import Captions

        return Captions(self._workspace)

    @property
    def uploads(self) -> Uploads:
        """Files on their way in from elsewhere: received piece by piece, resumed, taken in as one batch."""
        from limner.operations.uploads.actions import Uploads

        return Uploads(self._workspace)

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

    # --- shortcuts to what is said most often -------------------------------------------------------------------

    def train(self, slug: str, *, yes: bool = False, **options: Unpack[TrainOptions]) -> Job:
        """``trainings.start``."""
        return self.trainings.start(slug, yes=yes, **options)

    def generate(self, prompt: str, *, yes: bool = False, **options: Unpack[GenerateOptions]) -> Job:
        """``generations.start``."""
        return self.generations.start(prompt, yes=yes, **options)

    def run(
        self,
        slug: str,
        photos: Sequence[str | Path],
        prompts: Sequence[str],
        *,
        yes: bool = False,
        **options: Unpack[RunOptions],
    ) -> Job:
        """``runs.start``."""
        return self.runs.start(slug, photos, prompts, yes=yes, **options)

    def watch(self, job: Job | str) -> Iterator[Job]:
        """``jobs.watch``."""
        return self.jobs.watch(job)

    def watch_async(self, job: Job | str) -> AsyncIterator[Job]:
        """``jobs.watch_async``."""
        return self.jobs.watch_async(job)

    def wait(self, job: Job | str) -> Job:
        """``jobs.wait``."""
        return self.jobs.wait(job)

    async def wait_async(self, job: Job | str) -> Job:
        """``jobs.wait_async``."""
        return await self.jobs.wait_async(job)

    def cancel(self, job: Job | str) -> Job:
        """``jobs.cancel``."""
        return self.jobs.cancel(job)

    def resume(self, job: Job | str, *, yes: bool = False) -> Job:
        """``runs.resume``."""
        return self.runs.resume(job, yes=yes)

    def work(self, *, idle_seconds: float | None = None) -> bool:
        """``jobs.work``."""
        return self.jobs.work(idle_seconds=idle_seconds)


def _fail_all(database: Database, error: WorkerFailed) -> None:
    # the jobs' rules are loaded by the few who come here
    from limner.operations.jobs.lifecycle import fail_all

    fail_all(database, error)
