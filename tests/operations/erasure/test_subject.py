"""Publishing again and erasing: nothing doubled, nothing left, and what is left is said."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from limner import Studio
from limner.errors import Conflict, NotFound
from limner.operations.publications import job as publication_job
from limner.settings import Settings
from limner.store.models import JobRow
from limner.types import JobState
from tests.operations.conftest import QUICK, draw_photos, kill_all

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a subject that has one lora, published and drawn once; to be copied."""
    folder = tmp_path_factory.mktemp("made")
    small = {"seed": 7, "width": 64, "height": 64, "steps": 1}
    photos = draw_photos(folder / "photos")
    with Studio(settings=Settings(home=folder / "home", worker_idle_seconds=20)) as studio:
        studio.subjects.add("zib", kind="character", trigger="zibbo")
        studio.wait(studio.run("zib", [photos], ["{trigger}"], train={"settings": QUICK}, generate=small))
    kill_all(folder / "home")
    return folder / "home"


@pytest.fixture
def trained(made: Path, home: Path) -> Iterator[Studio]:
    shutil.copytree(made, home, symlinks=True)
    with Studio(settings=Settings()) as studio:
        yield studio


def test_a_changed_card_is_published_under_a_tag_of_its_own(
    trained: Studio, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    workspace = trained._workspace
    [first] = trained.publications.all("zib")
    request = publication_job.make_request(workspace, subject="zib", lora="zib@v1")

    again = publication_job._publish(workspace, request, "zib@v1")
    assert again["revision"] == first.revision
    assert len(trained.publications.all("zib")) == 1

    monkeypatch.setattr(publication_job, "__version__", "99.0")
    changed = [publication_job._publish(workspace, request, "zib@v1") for _ in range(2)]
    assert changed[0]["revision"] == changed[1]["revision"] != first.revision
    assert len(trained.publications.all("zib")) == 2
    hub = workspace.settings.hub_folder
    assert hub is not None
    assert "99.0" in (hub / "limner" / "zib-lora" / "README.md").read_text(encoding="utf-8")


def test_erasing_takes_what_a_killed_process_left_and_waits_for_nobodys_work(trained: Studio) -> None:
    workspace = trained._workspace
    stray = workspace.blobs.put(b"half a photo of somebody")
    trained.subjects.add("other", kind="pet")
    job = trained.jobs.all("zib")[0].id

    with workspace.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(state=JobState.RUNNING))
    with pytest.raises(Conflict, match="has not ended"):
        trained.erasure.erase("zib")
    with workspace.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(subject="other"))
    erased = trained.erasure.erase("zib")
    assert [line for line in erased.left if "no row names" in line]
    assert erased.left[0].startswith("1 stored files"), "only the stray is in doubt, not what was erased"
    assert workspace.blobs.has(stray)

    with workspace.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(state=JobState.DONE))
    assert trained.erasure.erase("other").left == ()
    assert workspace.blobs.digests() == []
    with pytest.raises(NotFound):
        trained.subjects.get("zib")


def test_publications_are_kept_when_asked_and_that_is_said(trained: Studio) -> None:
    hub = trained.settings.hub_folder
    assert hub is not None
    stored = len(trained._workspace.blobs.digests())
    erased = trained.erasure.erase("zib", publications=False)
    assert erased.erased["blobs"] == stored
    assert erased.left == ("limner/zib-lora on the hub 'folder' (you asked to keep publications)",)
    assert (hub / "limner" / "zib-lora" / "README.md").is_file()
