"""Checkpoints as loras: drawn with, picked as a version, and gone with their subject."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select

from limner import Studio
from limner.errors import Conflict, InputRefused, NotFound
from limner.loras.file.header import digests, read_header
from limner.operations.generations import orders, reach
from limner.operations.generations import submission as generations
from limner.settings import Settings
from limner.store.models import BlobRow, GenerationSubjectRow, JobRow, LoraRow
from limner.types import Reach
from tests.operations.loras_made import TRAINING, add_training


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as made:
        made.subjects.add("zib", kind="character", trigger="zibbo")
        add_training(made)
        yield made


def test_a_checkpoint_is_drawn_with_like_a_lora(studio: Studio) -> None:
    job = studio.generate("a photo of {trigger} {class_word}", loras=[f"{TRAINING}#20:0.7"], generator="local", seed=1)
    made = studio.generations.get(job.target)
    assert made.prompt == "a photo of zibbo character"
    assert made.base == "limner-tiny"
    [use] = made.loras
    assert (use.name, use.scale) == (f"{TRAINING}#20", 0.7)
    assert use.digest == studio.trainings.checkpoints(TRAINING)[1].digest
    assert job.subject == "zib"
    with studio._workspace.database.read() as session:
        assert session.scalars(select(GenerationSubjectRow.subject)).all() == ["zib"]


def test_short_ids_do_and_what_is_not_there_is_said(studio: Studio) -> None:
    job = studio.generate("x", loras=["0123#10"], generator="local")
    assert studio.generations.get(job.target).loras[0].name == f"{TRAINING}#10"
    with pytest.raises(NotFound, match="no checkpoint of step 15") as refusal:
        studio.generate("x", loras=[f"{TRAINING}#15"], generator="local")
    assert refusal.value.remedy == "It has those of the steps 10, 20, 30."
    with pytest.raises(NotFound, match="no training"):
        studio.generate("x", loras=["training_ffff#10"], generator="local")


def test_a_checkpoint_reaches_only_what_draws_from_a_file(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", "together_planted_token")
    workspace = studio._workspace
    request = generations.make_request(workspace, prompt="x", loras=[(f"{TRAINING}#10", 1.0)], generator="together")
    about = next(one for one in studio.maintenance.back_ends()["generators"] if one.name == "together")
    drawing = orders.find_drawing(workspace, request, [about])
    assert Reach.FILE not in about.reach
    [found] = reach.reach_findings(workspace, drawing.loras, about, [])
    assert found.code == "lora-out-of-reach"
    assert f"limner loras pick {TRAINING} 10" in found.remedy
    with pytest.raises(InputRefused, match="is a checkpoint here"):
        studio.generate("x", loras=[f"{TRAINING}#10"], generator="together", publish_if_needed=True, yes=True)


def test_picking_makes_the_next_version_once(studio: Studio) -> None:
    assert [one.lora for one in studio.trainings.checkpoints(TRAINING)] == ["", "", ""]
    lora = studio.trainings.pick(TRAINING, 20)
    assert (lora.name, lora.step, lora.training, lora.trigger) == ("zib@v1", 20, TRAINING, "zibbo")
    assert lora.header["limner.base"] == "limner-tiny"
    assert lora.header["limner.dataset"] == "d" * 64
    # the header is ours, the tensors are the checkpoint's, bit for bit
    [checkpoint] = [one for one in studio.trainings.checkpoints(TRAINING) if one.step == 20]
    before = digests(read_header(studio._workspace.blobs.path(checkpoint.digest)))
    assert before.tensors == lora.tensor_digest
    assert before.file != lora.digest
    assert checkpoint.lora == "zib@v1"
    assert studio.trainings.pick("0123", 20).name == "zib@v1"
    assert studio.trainings.pick(TRAINING, 30).name == "zib@v2"
    assert len(studio.loras.all("zib")) == 2


def test_the_same_weights_give_the_lora_that_is_there(studio: Studio) -> None:
    first = studio.trainings.pick(TRAINING, 30)
    with studio._workspace.database.write() as session:
        row = session.scalars(select(LoraRow)).one()
        row.training, row.picked_from, row.step = TRAINING, None, None
    again = studio.trainings.pick(TRAINING, 30)
    assert (again.name, again.step) == (first.name, None)
    assert len(studio.loras.all()) == 1


def test_a_picked_version_draws_and_its_card_tells_the_step(studio: Studio) -> None:
    studio.trainings.pick(TRAINING, 20)
    job = studio.generate("{trigger}", loras=["zib@v1"], generator="local")
    assert studio.generations.get(job.target).prompt == "zibbo"
    card = studio.publications.card("zib@v1")
    assert "| steps | `20 of 30` |" in card
    assert "from 5 photos" in card
    assert "000020-0.png" in card
    assert "000030-0.png" not in card, "a sample of a later step shows other weights"


def test_erasing_the_subject_takes_checkpoints_picks_and_pictures(studio: Studio) -> None:
    studio.trainings.pick(TRAINING, 20)
    job = studio.generate("x", loras=[f"{TRAINING}#10"], generator="local")
    with pytest.raises(Conflict):
        studio.erasure.erase("zib")
    studio.cancel(job)
    with studio._workspace.database.write() as session:
        session.execute(delete(JobRow))
    report = studio.erasure.erase("zib")
    assert report.left == ()
    assert studio._workspace.blobs.digests() == []
    with pytest.raises(NotFound):
        studio.generations.get(job.target)


def test_another_users_checkpoint_is_not_there(studio: Studio) -> None:
    studio.members.add("ann", "a long enough password")
    studio.members.add("bob", "another long password")
    theirs = studio.owned_by("bob")
    with pytest.raises(NotFound):
        theirs.generate("x", loras=[f"{TRAINING}#10"], generator="local")
    with pytest.raises(NotFound):
        theirs.trainings.pick(TRAINING, 10)
    with pytest.raises(NotFound):
        theirs.trainings.checkpoints(TRAINING)


def test_deleting_a_version_erases_its_weights_and_leaves_the_rest(studio: Studio) -> None:
    lora = studio.trainings.pick(TRAINING, 20)
    job = studio.generate("x", loras=[lora.name], generator="local")
    with pytest.raises(Conflict, match=f"{job.id} uses zib@v1"):
        studio.publications.delete_lora("zib@v1")
    with studio._workspace.database.write() as session:
        session.execute(delete(JobRow))
    report = studio.publications.delete_lora("zib@v1")
    assert dict(report.erased) == {"loras": 1, "publications": 0, "blobs": 1}
    assert not studio._workspace.blobs.has(lora.digest)
    with studio._workspace.database.read() as session:
        assert session.get(BlobRow, lora.digest) is None
    assert len(studio.trainings.checkpoints(TRAINING)) == 3
    assert studio.generations.get(job.target).loras[0].name == "zib@v1"
    with pytest.raises(NotFound):
        studio.loras.get("zib@v1")
    assert studio.trainings.pick(TRAINING, 30).name == "zib@v2", "pictures name v1: it never means other weights"


def test_a_published_version_is_deleted_only_with_its_publication(studio: Studio, tmp_path: Path) -> None:
    from limner.operations.publications import job as publication_job
    from limner.types import Visibility

    lora = studio.trainings.pick(TRAINING, 20)
    publication_job.publish_now(studio._workspace, "zib@v1", hub="folder", visibility=Visibility.PRIVATE)
    hub = studio.settings.hub_folder or studio.settings.home / "hub"
    with pytest.raises(Conflict, match="published as limner/zib-lora on 'folder'"):
        studio.publications.delete_lora("zib@v1")
    assert studio.loras.get("zib@v1").digest == lora.digest
    report = studio.publications.delete_lora("zib@v1", unpublish=True)
    assert report.erased["publications"] == 1
    assert not list(hub.rglob("*.safetensors"))
    assert studio.publications.all() == []
