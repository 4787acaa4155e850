"""Every resource of the API, asked by the typed client on a real socket."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime

import pytest
from PIL import Image
from sqlalchemy import update

from limner.client import Client
from limner.errors import (
    AccessRefused,
    ChangedMeanwhile,
    Conflict,
    InputRefused,
    NameRefused,
    NotFound,
    RecipeRefused,
    SpendingRefused,
)
from limner.operations.trainings.artifacts import log_file
from limner.store.models import JobRow, now
from limner.types import JobState, SubjectKind, TensorNaming
from limner.web.api.schemas.grids import AxisWanted, GridWish
from limner.web.api.schemas.loras import Publish
from limner.web.api.schemas.people import NewUser, UserChange
from limner.web.api.schemas.photos import CaptionEdit, CropWanted, Freeze, PhotoChange
from limner.web.api.schemas.pictures import GenerateWish
from limner.web.api.schemas.subjects import ConsentGiven, NewSubject
from limner.web.api.schemas.trainings import TrainWish
from limner.web.api.schemas.webhooks import WebhookWanted
from tests.web.api.conftest import Served
from tests.web.api.seeded import Seeded


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def stop(served: Served, job: str) -> None:
    """End a waiting job as its worker would after it was cancelled."""
    with served.app.state.studio._workspace.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(state=JobState.CANCELLED, ended_at=now()))


def test_subjects(client: Client) -> None:
    made = client.subjects.create(NewSubject(slug="mia", kind=SubjectKind.PET, class_word="cat", trigger="mia_cat"))
    assert (made.slug, made.kind, made.trigger) == ("mia", "pet", "mia_cat")
    assert client.subjects.get("mia") == made.model_copy(update={"findings": []})
    assert [one.slug for one in client.subjects.all()] == ["mia", "rex", "zib"]
    assert {one.subject.slug for one in client.subjects.cards()} == {"mia", "rex", "zib"}
    with pytest.raises(Conflict, match="mia"):
        client.subjects.create(NewSubject(slug="mia", kind=SubjectKind.PET))
    with pytest.raises(NameRefused) as refused:
        client.subjects.create(NewSubject(slug="No Slug", kind=SubjectKind.PET))
    assert refused.value.remedy
    assert client.subjects.propose("Mia", kind="pet").slug_problem
    with pytest.raises(NotFound, match="No consent"):
        client.subjects.consent("mia")
    given = ConsentGiven(statement="Yes.", given_by="Anna", given_at=datetime(2026, 9, 2, tzinfo=UTC))
    assert client.subjects.record_consent("mia", given).consent is not None
    assert client.subjects.consent("mia").given_by == "Anna"
    client.subjects.withdraw_consent("mia")
    assert client.subjects.contents("mia").subject == "mia"
    assert client.subjects.erase("mia").subject == "mia"
    with pytest.raises(NotFound):
        client.subjects.get("mia")


def test_photos(client: Client, there: Seeded) -> None:
    photos = list(client.photos.all("zib"))
    assert len(photos) == 6
    assert client.photos.get("zib", there.photo[:8]).digest == there.photo
    tag = client.photos.tag("zib", there.photo)
    crop = CropWanted(left=10, top=20, width=200, height=200)
    changed = client.photos.change(
        "zib", there.photo, PhotoChange(caption="{trigger} on a red sofa", crop=crop), if_match=tag
    )
    assert changed.caption == "{trigger} on a red sofa"
    assert changed.crop is not None and changed.crop.left == 10
    with pytest.raises(ChangedMeanwhile):
        client.photos.change("zib", there.photo, PhotoChange(caption="mine"), if_match=tag)
    assert client.photos.get("zib", there.photo) == changed
    assert client.photos.change("zib", there.photo, PhotoChange(crop=None)).crop is None
    assert client.photos.change("zib", there.photo, PhotoChange(caption="")).crop is None
    set_to = client.photos.set_captions("zib", {there.photo: "a dog on a sofa"})
    assert set_to[0].caption == "a dog on a sofa"
    edit = CaptionEdit(find="dog", replace="{trigger}")
    looked = client.photos.edit_captions("zib", edit, what_if=True)
    assert looked.made_at is None and looked.changes[0].after == "a {trigger} on a sofa"
    assert client.photos.get("zib", there.photo).caption == "a dog on a sofa"
    assert client.photos.edit_captions("zib", edit).made_at is not None
    assert client.photos.undo_edit("zib").changes[0].after == "a dog on a sofa"
    assert client.photos.health("zib").photos == 6
    assert {one.photo for one in client.photos.crops("zib")} == {one.digest for one in photos}
    assert [one.photo for one in client.photos.crops("zib", [there.photo])] == [there.photo]
    assert size_of(client.photos.file("zib", there.photo)) == (320, 320)
    assert size_of(client.photos.thumbnail("zib", there.photo, width=160))[0] == 160
    with pytest.raises(NotFound):
        client.photos.get("rex", there.photo)


def test_datasets(client: Client, there: Seeded) -> None:
    assert there.dataset in [one.digest for one in client.datasets.all("zib")]
    found = client.datasets.get(there.dataset[:10])
    assert found.photos == 6 and len(found.manifest.items) == 6
    made = client.datasets.freeze(Freeze(subject="zib", base="limner-tiny"))
    assert client.datasets.freeze(Freeze(subject="zib", base="limner-tiny")).digest == made.digest
    packed = zipfile.ZipFile(io.BytesIO(client.datasets.package(there.dataset, "kohya")))
    assert len(packed.namelist()) >= 12
    assert size_of(client.datasets.crop_sheet(there.dataset))[0] > 100
    with pytest.raises(InputRefused):
        client.datasets.freeze(Freeze(subject="rex"))


def test_trainings(client: Client, served: Served, there: Seeded) -> None:
    wish = TrainWish(subject="zib", preset="quick", settings={"steps": 20})
    looked = client.trainings.what_if(wish)
    assert looked.possible and looked.estimate.amount == 0
    before = len(list(client.trainings.all("zib")))
    started = client.trainings.start(wish)
    assert started.job.state is JobState.WAITING
    assert started.training.recipe["steps"] == 20
    assert len(list(client.trainings.all("zib"))) == before + 1
    assert client.trainings.cancel(started.training.id).cancel_requested
    with pytest.raises(Conflict, match="running already"):
        client.trainings.resume(started.training.id)
    stop(served, started.job.id)
    assert client.trainings.resume_what_if(started.training.id).plans[0].back_end == "local"
    resumed = client.trainings.resume(started.training.id)
    assert resumed.id != started.job.id and resumed.target == started.training.id
    assert client.trainings.get(there.training).state is JobState.DONE
    run = client.trainings.run(there.training)
    assert [one.step for one in run.checkpoints] == [10, 20, 30]
    assert client.trainings.losses(there.training).losses == []
    [first, *_] = client.trainings.samples(there.training)
    assert size_of(client.trainings.sample_file(there.training, first.step, 0)) == (64, 48)
    assert client.trainings.checkpoints(there.training)[1].lora == there.lora
    assert client.trainings.pick(there.training, 20).name == there.lora
    assert client.trainings.log(there.training) == ""
    kept = log_file(served.app.state.studio._workspace, there.training)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("step 10 of 30\nloss 0.5\n")
    assert client.trainings.log(there.training) == "step 10 of 30\nloss 0.5\n"
    assert client.trainings.choices(wish).choices[0].trainer == "local"
    with pytest.raises(RecipeRefused) as refused:
        client.trainings.start(TrainWish(subject="zib", settings={"steps": 0, "rank": 5_000}))
    assert set(refused.value.fields) == {"steps", "rank"}
    with pytest.raises(NotFound):
        client.trainings.get("training_ffff")


def test_loras(client: Client, there: Seeded) -> None:
    assert [one.name for one in client.loras.all("zib")] == [there.lora]
    found = client.loras.get("zib")
    assert found.name == there.lora and found.step == 20
    plain, kohya = client.loras.file(there.lora), client.loras.file(there.lora, naming=TensorNaming.KOHYA)
    assert len(plain) == found.byte_size and b"lora_unet" in kohya
    card = client.loras.set_card(there.lora, "Made for a test.")
    assert "Made for a test." in card.text and client.loras.card(there.lora).words == "Made for a test."
    job = client.loras.publish(there.lora, Publish(hub="folder"))
    assert job.kind == "publish"
    assert client.loras.health(there.lora) == []
    assert list(client.loras.publications()) == [] and client.loras.on_hub("folder") == []
    with pytest.raises(NotFound, match="is not published"):
        client.loras.unpublish(there.lora)
    with pytest.raises(Conflict):
        client.loras.delete(there.lora)


def test_pictures(client: Client, there: Seeded) -> None:
    wish = GenerateWish(prompt="a photo of {trigger}", loras=[f"{there.lora}:0.8"], count=2, seed=5, generator="local")
    assert client.generations.what_if(wish).possible
    started = client.generations.start(wish)
    assert started.generation.count == 2 and started.generation.prompt == "a photo of zibbo"
    assert started.generation.loras[0].scale == 0.8
    assert client.generations.wish(started.generation.id).loras[0].scale == 0.8
    assert client.generations.choices(wish).choices[0].usable
    assert client.generations.templates()
    with pytest.raises(SpendingRefused, match="max_cost"):
        paid = GenerateWish(prompt="a dog", base="flux2-dev", generator="together", max_cost=0)
        client.generations.start(paid)
    found = list(client.images.all(subject="zib", lora=there.lora))
    assert len(found) >= 5
    assert len(list(client.images.all(limit=3))) == 3
    assert client.images.get(there.image).steps == 8
    assert client.images.set_favourite(there.image).favourite
    assert [one.id for one in client.images.all(favourite=True)] == [there.image]
    assert client.images.mark([there.image], favourite=False).count == 1
    assert "zib" in client.images.choices().subjects
    assert sum(one.count for one in client.images.months(subject="zib")) == len(list(client.images.all(subject="zib")))
    assert size_of(client.images.file(there.image)) == (64, 48)
    assert b"zibbo" not in client.images.file(there.image, share=True)
    assert client.images.thumbnail(there.image)
    assert client.images.provenance(there.image).facts
    assert client.images.wish(there.image).seed == 7
    with pytest.raises(InputRefused, match="does not say how Limner made it"):
        client.images.reproduce(there.image)
    with pytest.raises(Conflict, match="drew 0 pictures"):
        client.images.reproduced(there.image, there.job)
    packed = zipfile.ZipFile(io.BytesIO(client.images.archive([there.image, there.image + 1])))
    assert "metadata.jsonl" in packed.namelist() and len(packed.namelist()) == 3
    assert client.images.delete(there.image + 4).count == 1
    with pytest.raises(NotFound):
        client.images.get(there.image + 4)


def test_grids(client: Client, there: Seeded) -> None:
    axes = {"x": AxisWanted(name="scale", values=[0.5, 1.0]), "y": AxisWanted(name="seed", values=[1, 2])}
    wish = GridWish(prompts=["a drawing of {trigger}"], loras=[there.lora], generator="local", seed=1, **axes)
    plan = client.grids.what_if(wish)
    assert plan.generations == 4 and plan.what_if.possible
    made = client.grids.start(wish)
    assert made.expected == 4 and len(made.cells) == 2 and len(made.cells[0]) == 2
    assert len(client.grids.jobs(made.id)) == 4
    assert client.grids.cancel(made.id).id == made.id
    assert all(client.jobs.get(job).cancel_requested for job in client.grids.jobs(made.id))
    grid = client.grids.get(there.grid)
    assert len(grid.cells[0][0].images) == 1
    pair = client.grids.pair(there.grid)
    vote = client.grids.vote(there.grid, pair.left.id, pair.right.id, after=0)
    assert client.grids.vote(there.grid, pair.left.id, pair.right.id, after=0) == vote
    assert len(client.grids.votes(there.grid)) == 1
    assert client.grids.ranking(there.grid)[0].standings[0].wins == 1
    assert set(client.grids.labels(there.grid)) == {pair.left.id, pair.right.id}
    with pytest.raises(NotFound):
        client.grids.pair(there.grid)
    assert client.grids.undo_vote(there.grid).winner == vote.winner
    assert size_of(client.grids.sheet(there.grid))[0] > 64
    assert len(zipfile.ZipFile(io.BytesIO(client.grids.archive(there.grid))).namelist()) >= 2
    assert {one.id for one in client.grids.all()} == {made.id, there.grid}
    client.grids.delete(made.id)
    assert [one.id for one in client.grids.all()] == [there.grid]


def test_jobs_and_costs(client: Client, served: Served, there: Seeded) -> None:
    found = client.jobs.get(there.job)
    assert found.state is JobState.WAITING
    assert client.jobs.history(there.job)[0].kind == "job.waiting"
    assert client.jobs.cancel(there.job).cancel_requested
    stop(served, there.job)
    assert client.jobs.resume_what_if(there.job).estimate.amount == 0
    again = client.jobs.resume(there.job)
    assert again.target == found.target and again.state is JobState.WAITING
    assert there.job in {one.id for one in client.jobs.all("zib")}
    assert client.money.costs("zib").total == 0
    assert client.money.purchases() == []
    assert any(one.works for one in client.money.routes(base="limner-tiny"))
    with pytest.raises(NotFound):
        client.money.decide("nothing", "drop")


def test_what_there_is(client: Client) -> None:
    assert "/api/v1/subjects" in client.setup.index().resources
    assert client.setup.base("limner-tiny") in client.setup.bases()
    assert {"trainers", "hubs", "generators"} <= set(client.setup.back_ends())
    assert client.setup.doctor().healthy
    assert client.accounts.get("replicate") in client.accounts.all()
    with pytest.raises(NotFound):
        client.accounts.get("nobody")


def test_settings_and_webhooks(client: Client) -> None:
    found = client.setup.settings()
    assert "HOME" in found.file
    changed = client.setup.change_settings({"budget_day": "5"}, seen=found.seen)
    assert next(one for one in changed.settings if one.name == "budget_day").value.startswith("5")
    with pytest.raises(ChangedMeanwhile):
        client.setup.change_settings({"budget_day": "6"}, seen=found.seen)
    with pytest.raises(InputRefused):
        client.setup.change_settings({"budget_day": "plenty"})
    assert client.setup.change_settings({"budget_day": None}, seen=changed.seen).seen != changed.seen
    assert client.setup.log() == ""
    assert client.webhooks.all() == []
    for url in ("https://127.0.0.1/x", "https://[::1]/", "http://example.org/", "https://169.254.169.254/latest"):
        with pytest.raises(InputRefused):
            client.webhooks.create(WebhookWanted(url=url))
    with pytest.raises(NotFound):
        client.webhooks.test("webhook_none")


def test_users_and_tokens(client: Client, served: Served) -> None:
    made = client.users.create(NewUser(name="ben", password="a long pass phrase"))
    assert not made.admin and client.users.get("ben").name == "ben"
    assert client.users.change("ben", UserChange(admin=True)).admin
    assert [one.name for one in client.users.all()] == ["anna", "ben"]
    assert client.users.close_sessions("ben").count == 0
    token = client.tokens.create("for a test", scopes=["read"], days=2)
    assert token.secret.startswith("lim_") and client.tokens.get(token.token.id) == token.token
    assert token.token in list(client.tokens.all())
    assert client.tokens.revoke(token.token.id).id == token.token.id
    own = served.app.state.studio.members.add_token("ben's", scopes=("read", "write"), owner="ben").secret
    with Client(served.url, token=own) as bens:
        with pytest.raises(AccessRefused, match="old password is wrong"):
            bens.users.change_password("another pass phrase", "a new pass phrase")
        with pytest.raises(InputRefused, match="10"):
            bens.users.change_password("a long pass phrase", "short")
        bens.users.change_password("a long pass phrase", "a new pass phrase")
    assert served.app.state.studio.members.check_password("ben", "a new pass phrase") is not None
    assert client.users.remove("ben").name == "ben"


def test_no_answer_tells_where_the_home_is(client: Client, there: Seeded) -> None:
    home = str(there.settings.home)
    paths = ["/doctor", "/back-ends", "/trainings", "/loras", "/images", "/jobs", "/grids", "/routes", "/datasets"]
    paths += ["/subjects/zib/photos", f"/images/{there.image}/provenance", f"/trainings/{there.training}/run"]
    for path in paths:
        text = client._connection.answer("GET", path).text
        assert home not in text, path
        assert ".limner" not in text, path
