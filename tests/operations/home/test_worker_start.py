"""A worker that cannot start: tried three times, and then those who wait are told why."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from limner.errors import WorkerFailed
from limner.operations.home import worker_start
from limner.operations.home.worker_start import last_failure
from limner.operations.maintenance.doctor import _worker
from limner.studio import Studio
from limner.types import JobState
from tests.photos.making import encoded, picture


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installation in which the worker, and only it, lacks a part."""
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "dbos.py").write_text("raise ImportError('libsomething.so.3: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(parts))
    return parts / "dbos.py"


def photo(tmp_path: Path) -> Path:
    path = tmp_path / "p.png"
    path.write_bytes(encoded(picture(1)))
    return path


def test_after_the_third_death_the_jobs_fail_with_what_the_log_says(tmp_path: Path, broken: Path) -> None:
    with Studio(tmp_path / "home") as studio:
        studio.subjects.add("rex", kind="pet")
        job = studio.photos.add("rex", [photo(tmp_path)])
        with pytest.raises(WorkerFailed, match=r"libsomething\.so\.3") as failure:
            studio.wait(job)
        assert "limner jobs resume" in failure.value.remedy
        with pytest.raises(WorkerFailed):
            studio.jobs.wait_for_worker()
        check = _worker(studio._workspace)
        assert check.state == "problem"
        assert "libsomething" in check.detail
        for path in (studio._workspace.log_file, studio.settings.home / "run" / "worker.failure"):
            assert path.stat().st_mode & 0o077 == 0

        broken.unlink()
        again = studio.wait(studio.resume(job.id))
        assert again.state is JobState.DONE
        assert studio.jobs.get(job.id).state is JobState.FAILED, "the queue must not bring the failed one back"
        assert last_failure(studio.settings.home) == ""
        assert len(studio.photos.all("rex")) == 1


def test_a_worker_that_lives_is_not_waited_for_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who loses the race for the lock ends well, and is no death."""
    started = []
    plain = worker_start.WorkerStart._start
    monkeypatch.setattr(
        worker_start.WorkerStart, "_start", lambda self, environment: started.append(1) or plain(self, environment)
    )
    with Studio(tmp_path / "home") as one, Studio(tmp_path / "home") as other:
        one.subjects.add("rex", kind="pet")
        jobs = [studio.photos.add("rex", [photo(tmp_path)]) for studio in (one, other)]
        one.jobs.wait_for_worker()
        other.jobs.wait_for_worker()
        for job in jobs:
            assert one.wait(job).state is JobState.DONE
        assert len(started) <= 2
        assert last_failure(one.settings.home) == ""


def test_a_worker_that_is_stopped_is_no_dead_one(tmp_path: Path) -> None:
    """SIGSTOP, or a laptop that sleeps: nobody takes its work over, and it goes on where it was."""
    with Studio(tmp_path / "home") as studio:
        studio.subjects.add("rex", kind="pet")
        studio.wait(studio.photos.add("rex", [photo(tmp_path)]))
        pid = int((studio.settings.home / "run" / "worker.lock").read_text())
        os.kill(pid, signal.SIGSTOP)
        try:
            (tmp_path / "q.png").write_bytes(encoded(picture(2)))
            job = studio.photos.add("rex", [tmp_path / "q.png"])
            for _ in range(10):
                studio.jobs.go_on()
                time.sleep(0.1)
            assert studio.jobs.get(job.id).state is JobState.WAITING
            assert int((studio.settings.home / "run" / "worker.lock").read_text()) == pid
        finally:
            os.kill(pid, signal.SIGCONT)
        assert studio.wait(job).state is JobState.DONE
        assert len(studio.photos.all("rex")) == 2
