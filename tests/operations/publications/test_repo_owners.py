"""Repos that several would publish in: nobody opens or deletes what is another's, or a person's who was not asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from limner import Studio
from limner.errors import Conflict
from limner.hubs.folder.hub import FolderHub
from limner.operations.publications import job as publication_job
from limner.operations.publications import repo_owners
from limner.records import Job
from limner.settings import Settings
from limner.store.models import JobRow, LoraRow, PublicationRow
from limner.types import Consent, Visibility
from tests.servers.quick_engine import quick_lora

AGREED = Consent(statement="Yes.", given_by="jane", given_at=None)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as made:
        yield made


def add(studio: Studio, folder: Path, slug: str, kind: str = "product") -> str:
    """A subject with one lora; its name."""
    file = folder / f"{slug}.safetensors"
    file.write_bytes(quick_lora("limner-tiny", 2, slug.encode()[:1]))
    return studio.loras.adopt(file, subject=slug, kind=kind, trigger=f"{slug}_x").name


@pytest.fixture
def alice(studio: Studio, tmp_path: Path) -> Studio:
    studio.members.add("alice", "a long enough password")
    made = studio.owned_by("alice")
    add(made, tmp_path, "alicia")
    return made


@pytest.fixture
def bob(alice: Studio, studio: Studio, tmp_path: Path) -> Studio:
    studio.members.add("bob", "another long password")
    made = studio.owned_by("bob")
    add(made, tmp_path, "mug")
    return made


def work(studio: Studio, job: Job) -> dict[str, Any]:
    """Do a publication that was submitted, as the worker does, who belongs to nobody."""
    with studio._workspace.database.read() as session:
        [row] = session.get_one(JobRow, job.id).request["stages"]
    request = publication_job.PublishRequest.from_json(row)
    return publication_job._publish(studio._workspace, request, request.lora)


def private(studio: Studio, repo: str) -> bool:
    return FolderHub(studio.settings).status(repo).visibility is Visibility.PRIVATE


def test_of_two_who_wait_to_publish_in_one_repo_the_second_is_refused(
    studio: Studio, alice: Studio, bob: Studio
) -> None:
    first, second = alice.publications.start("alicia@v1", repo="ours"), bob.publications.start("mug@v1", repo="ours")
    assert work(studio, second)["repo"] == "limner/ours"
    with pytest.raises(Conflict, match="'limner/ours' is taken"):
        work(studio, first)
    assert [one.lora for one in repo_owners.held(studio._workspace, "folder", "limner/ours")] == ["mug@v1"]
    with pytest.raises(Conflict, match="is taken"):
        alice.publications.start("alicia@v1", repo="ours")


def test_nobody_gets_first_to_the_name_that_anothers_repo_will_have(studio: Studio, alice: Studio, bob: Studio) -> None:
    with pytest.raises(Conflict, match="'alicia-lora' is taken"):
        bob.publications.start("mug@v1", repo="alicia-lora")
    assert work(studio, alice.publications.start("alicia@v1"))["repo"] == "limner/alicia-lora"
    assert work(studio, bob.publications.start("mug@v1"))["repo"] == "limner/mug-lora"


def test_a_repo_that_two_have_is_opened_and_deleted_by_neither(studio: Studio, alice: Studio, bob: Studio) -> None:
    work(studio, alice.publications.start("alicia@v1"))
    with studio._workspace.database.write() as session:
        there = session.scalars(select(PublicationRow)).one()
        mug = session.scalars(select(LoraRow.id).where(LoraRow.subject == "mug")).one()
        more = {key: getattr(there, key) for key in ("hub", "repo", "revision", "visibility", "url")}
        session.add(PublicationRow(lora=mug, **more))
    with pytest.raises(Conflict, match="is taken"):
        bob.publications.set_visibility("mug@v1", Visibility.PUBLIC)
    with pytest.raises(Conflict, match="is taken"):
        bob.publications.unpublish("mug@v1")
    with pytest.raises(Conflict, match="is taken"):
        bob.publications.delete_lora("mug@v1", unpublish=True)
    assert private(studio, "limner/alicia-lora")
    assert len(alice.publications.all()) == 1
    assert studio.publications.unpublish("mug@v1") == [("folder", "limner/alicia-lora")], "who has the home may"


def test_a_repo_is_opened_only_with_the_consent_of_everybody_in_it(studio: Studio, tmp_path: Path) -> None:
    for slug, kind in (("jane", "person"), ("mug", "product")):
        add(studio, tmp_path, slug, kind)
    early = studio.publications.start("mug@v1", repo="jane-lora", visibility=Visibility.PUBLIC)
    work(studio, studio.publications.start("jane@v1"))
    with pytest.raises(Conflict, match="no consent of 'jane'"):
        work(studio, early)
    with pytest.raises(Conflict, match="no consent of 'jane'"):
        studio.publications.start("mug@v1", repo="jane-lora", visibility=Visibility.PUBLIC)
    work(studio, studio.publications.start("mug@v1", repo="jane-lora"))
    with pytest.raises(Conflict, match="no consent of 'jane'"):
        studio.publications.set_visibility("mug@v1", Visibility.PUBLIC)
    assert private(studio, "limner/jane-lora")

    studio.subjects.record_consent("jane", AGREED)
    work(studio, early)
    assert not private(studio, "limner/jane-lora")
    assert {one.visibility for one in studio.publications.all()} == {Visibility.PUBLIC}, (
        "it is open with all that is in it"
    )


def test_a_consent_that_was_withdrawn_meanwhile_is_none(studio: Studio, tmp_path: Path) -> None:
    add(studio, tmp_path, "jane", "person")
    studio.subjects.record_consent("jane", AGREED)
    job = studio.publications.start("jane@v1", visibility=Visibility.PUBLIC)
    studio.subjects.withdraw_consent("jane")
    with pytest.raises(Conflict, match="no consent of 'jane'"):
        work(studio, job)
    assert studio.publications.all() == []
