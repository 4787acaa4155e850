"""Wishes and events: a form sent twice makes one job, and every change of a job's state is on record with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from limner import Studio
from limner.errors import Cancelled, Conflict, InputRefused, WorkFailed
from limner.operations.home import dbos_engine
from limner.operations.jobs import idempotency as wishes
from limner.operations.jobs import lifecycle
from limner.records import Job
from limner.settings import Settings
from limner.store.models import GenerationRow
from limner.store.web_models import AnswerRow
from limner.types import JobState
from tests.operations.conftest import draw_photos
from tests.stage_requests import StoredRequest
from tests.waiting import PATIENCE
from tests.web.pictures_made import add_generation

PROCESSES = multiprocessing.get_context("forkserver")
WISH = "a" * 32


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(settings=Settings(home=tmp_path / "home", start_worker=False))


def make(studio: Studio, *, times: int = 1) -> Job:
    with studio._workspace.database.write() as session:
        made = [
            lifecycle.add_job(session, kind="intake", stages=[StoredRequest("intake")], subject=None)
            for _ in range(times)
        ]
        first = made[0].id
    return studio.jobs.get(first)


def test_the_same_wish_gives_the_same_job(studio: Studio) -> None:
    first = studio.jobs.once(WISH, lambda: make(studio))
    second = studio.jobs.once(WISH, lambda: pytest.fail("made twice"))
    assert second.id == first.id
    assert len(studio.jobs.all()) == 1
    assert studio.jobs.once("b" * 32, lambda: make(studio)).id != first.id


def test_one_user_does_not_get_the_job_of_another_with_the_same_wish(studio: Studio) -> None:
    mine = studio.jobs.once(WISH, lambda: make(studio))
    theirs = studio.owned_by("ada")
    made: list[str] = []

    def make_theirs() -> Job:
        made.append(make(studio).id)
        return studio.jobs.get(made[0])

    assert theirs.jobs.once(WISH, make_theirs).id == made[0] != mine.id


def test_what_is_refused_may_be_wished_again(studio: Studio) -> None:
    def refuse() -> Job:
        raise InputRefused("No.")

    for _ in range(2):
        with pytest.raises(InputRefused):
            studio.jobs.once(WISH, refuse)
    assert studio.jobs.once(WISH, lambda: make(studio)).id


def test_a_wish_that_was_fulfilled_before_something_failed_stays_fulfilled(studio: Studio) -> None:
    def fail_late() -> Job:
        make(studio)
        raise WorkFailed("The worker could not be started.")

    with pytest.raises(WorkFailed):
        studio.jobs.once(WISH, fail_late)
    [job] = studio.jobs.all()
    assert studio.jobs.once(WISH, lambda: pytest.fail("made twice")).id == job.id


def test_several_jobs_of_one_wish_count_as_the_first(studio: Studio) -> None:
    first = studio.jobs.once(WISH, lambda: make(studio, times=3))
    assert len(studio.jobs.all()) == 3
    assert studio.jobs.once(WISH, lambda: pytest.fail("made twice")).id == first.id


def test_two_at_the_same_time_make_one(studio: Studio) -> None:
    begun, go_on = threading.Event(), threading.Event()
    made: list[int] = []
    found: list[str] = []

    def slowly() -> Job:
        begun.set()
        made.append(1)
        go_on.wait(PATIENCE)
        return make(studio)

    second = threading.Thread(target=lambda: found.append(studio.jobs.once(WISH, slowly).id))
    first = threading.Thread(target=lambda: found.append(studio.jobs.once(WISH, slowly).id))
    first.start()
    assert begun.wait(PATIENCE)
    second.start()
    second.join(0.15)
    assert second.is_alive()  # it waits for the first
    go_on.set()
    for one in (first, second):
        one.join(PATIENCE)
    assert len(made) == 1
    assert len(set(found)) == 1
    assert len(studio.jobs.all()) == 1


def test_one_left_by_a_crash_is_taken_over_and_the_late_one_makes_nothing(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wishes, "PATIENCE_SECONDS", 0.0)

    def slow() -> Job:
        # While this one is at it somebody lost patience and made the job.
        studio.jobs.once(WISH, lambda: make(studio))
        return make(studio)

    with studio._workspace.database.write() as session:
        session.add(AnswerRow(owner="", key=f"wish:{WISH}", route="wish", request="", headers={}, body=b""))
    with pytest.raises(Conflict):
        studio.jobs.once(WISH, slow)
    assert len(studio.jobs.all()) == 1


def test_two_pages_that_resume_one_job_at_the_same_time_make_one(studio: Studio) -> None:
    job = make(studio)
    database = studio._workspace.database
    lifecycle.start_stage(database, job.id, 0)
    lifecycle.end_stage(database, job.id, 0, error=WorkFailed("The disk is full."))
    lifecycle.end_job(database, job.id)
    studio._workspace.submitter  # noqa: B018 - so that both threads begin with the same
    both = threading.Barrier(2)
    made: list[str] = []
    refused: list[Conflict] = []

    def resume(wish: str) -> None:
        both.wait(PATIENCE)
        try:
            made.append(studio.jobs.once(wish, lambda: studio.resume(job.id)).id)
        except Conflict as refusal:
            refused.append(refusal)

    threads = [threading.Thread(target=resume, args=(wish,)) for wish in (f"0123456789ab-{job.id}", f"resume-{job.id}")]
    for one in threads:
        one.start()
    for one in threads:
        one.join(PATIENCE)
    assert len(made) == len(refused) == 1
    assert made[0] in refused[0].message
    assert {one.id for one in studio.jobs.all()} == {job.id, made[0]}
    with pytest.raises(Conflict, match="running already"):  # the command line has no wish
        studio.resume(job.id)


def wish_and_die(home: Path, photos: Path, point: str) -> None:
    """What a server does with a form, in a process of its own, until it is killed at a point."""

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with Studio(settings=Settings(home=home, start_worker=False)) as studio:
        where: dict[str, tuple[object, str]] = {
            "claimed": (lifecycle, "add_job"),
            "added": (dbos_engine.Submitter, "submit"),
            "committed": (type(studio._workspace), "ensure_worker"),
        }
        setattr(*where[point], die)
        studio.jobs.once(WISH, lambda: studio.photos.add("rex", [photos]))


@pytest.mark.parametrize("point", ["claimed", "added", "committed"])
def test_a_server_killed_with_a_wish_in_hand_makes_one_job_in_the_end(
    studio: Studio, tmp_path: Path, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the claim and the job's transaction, within that, and right after it; then the form is sent again."""
    monkeypatch.setattr(wishes, "PATIENCE_SECONDS", 0.0)
    studio.subjects.add("rex", kind="pet")
    photos = draw_photos(tmp_path / "photos", 1)
    server = PROCESSES.Process(target=wish_and_die, args=(studio.settings.home, photos, point))
    server.start()
    server.join(PATIENCE)
    assert server.exitcode == -signal.SIGKILL
    assert len(studio.jobs.all()) == (point == "committed")
    made: list[str] = []

    def again() -> Job:
        job = studio.photos.add("rex", [photos])
        made.append(job.id)
        return job

    first, second = (studio.jobs.once(WISH, again).id for _ in range(2))
    assert first == second
    assert made == ([] if point == "committed" else [first])
    assert [job.id for job in studio.jobs.all()] == [first]
    with studio._workspace.database.read() as session:
        assert session.scalars(text("SELECT workflow_uuid FROM workflow_status")).all() == [first]


@pytest.mark.parametrize("wish", ["", "short", "a" * 101, "with space in it", "../../etc/passwd"])
def test_a_wish_that_is_no_id_is_refused(studio: Studio, wish: str) -> None:
    with pytest.raises(InputRefused):
        studio.jobs.once(wish, lambda: pytest.fail("made"))


def test_every_state_of_a_job_is_an_event_once(studio: Studio) -> None:
    database = studio._workspace.database
    with database.write() as session:
        job = lifecycle.add_job(
            session, kind="run", stages=[StoredRequest("intake"), StoredRequest("freeze")], subject=None, owner="ada"
        ).id
    for stage in (0, 0, 1):  # the first one again, as after a crash
        lifecycle.start_stage(database, job, stage)
        lifecycle.end_stage(database, job, stage, result={})
    lifecycle.end_job(database, job)
    lifecycle.end_job(database, job)
    assert [event.kind for event in studio.jobs.events(job)] == ["job.waiting", "job.running", "job.done"]


def test_what_a_killed_stage_left_unsaid_ends_with_its_job(studio: Studio) -> None:
    """A run whose worker was killed while it drew, cancelled before the next one took the stage up."""
    add_generation(studio, "left")
    database = studio._workspace.database
    with database.write() as session:
        session.get_one(GenerationRow, "generation_left").state = JobState.RUNNING
        stages = [StoredRequest("generate", generation="generation_left")]
        job = lifecycle.add_job(session, kind="run", stages=stages, subject=None, target="training_other").id
    assert studio.generations.get("generation_left").state is JobState.WAITING
    lifecycle.start_stage(database, job, 0)
    lifecycle.end_stage(database, job, 0, error=Cancelled("Stopped as you asked."))
    lifecycle.end_job(database, job)
    found = studio.generations.get("generation_left")
    assert found.state is JobState.CANCELLED
    assert found.error is not None and found.error.code == "cancelled"


def test_an_event_is_gone_with_the_change_that_it_told_of(studio: Studio) -> None:
    job = make(studio)
    with pytest.raises(RuntimeError), studio._workspace.database.write() as session:
        lifecycle.add_job(session, kind="intake", stages=[StoredRequest("intake")], subject=None)
        raise RuntimeError
    assert [event.job for event in studio.jobs.events(job.id)] == [job.id]
    assert len(studio.jobs.all()) == 1
