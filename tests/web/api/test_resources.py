"""Every resource of the API, asked by the client on a real socket."""

from __future__ import annotations

import io
import zipfile
from typing import Any

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
from limner.store.models import CurvePointRow, JobRow, now
from limner.types import JobState
from tests.web.api.conftest import Served
from tests.web.api.seeded import Seeded


def size_of(data: bytes) -> tuple[int, int]:
    return Image.open(io.BytesIO(data)).size


def stop(served: Served, job: str) -> None:
    """End a waiting job as its worker would after it was cancelled."""
    with served.app.state.studio._workspace.database.write() as session:
        session.execute(update(JobRow).where(JobRow.id == job).values(state=JobState.CANCELLED, ended_at=now()))


def all_of(found: Any, name: str) -> list[Any]:
    return [one[name] for one in found]


def test_subjects(client: Client) -> None:
    wanted = {"slug": "mia", "kind": "pet", "class_word": "cat", "trigger": "mia_cat"}
    made = client.post("/subjects", wanted)
    assert wanted.items() <= made.items()
    assert client.get("/subjects/mia") == {**made, "findings": []}
    assert all_of(client.items("/subjects"), "slug") == ["mia", "rex", "zib"]
    assert {one["subject"]["slug"] for one in client.items("/subject-cards")} == {"mia", "rex", "zib"}
    with pytest.raises(Conflict, match="mia"):
        client.post("/subjects", wanted)
    with pytest.raises(NameRefused) as refused:
        client.post("/subjects", {"slug": "No Slug", "kind": "pet"})
    assert refused.value.remedy
    assert client.get("/subject-names", name="Mia", kind="pet")["slug_problem"]
    with pytest.raises(NotFound, match="No consent"):
        client.get("/subjects/mia/consent")
    given = {"statement": "Yes.", "given_by": "Anna", "given_at": "2026-09-02T00:00:00Z"}
    assert client.change("PUT", "/subjects/mia/consent", given)["consent"] == given
    assert client.get("/subjects/mia/consent") == given
    client.change("DELETE", "/subjects/mia/consent")
    assert client.get("/subjects/mia/contents")["subject"] == "mia"
    assert client.change("DELETE", "/subjects/mia")["subject"] == "mia"
    with pytest.raises(NotFound):
        client.get("/subjects/mia")


def test_photos(client: Client, there: Seeded) -> None:
    photos = list(client.items("/subjects/zib/photos"))
    one = f"/subjects/zib/photos/{there.photo}"
    assert len(photos) == 6
    assert client.get(f"/subjects/zib/photos/{there.photo[:8]}")["digest"] == there.photo
    tag = client.tag(one)
    crop = {"left": 10, "top": 20, "width": 200, "height": 200}
    changed = client.change("PATCH", one, {"caption": "{trigger} on a red sofa", "crop": crop}, if_match=tag)
    assert changed["caption"] == "{trigger} on a red sofa" and changed["crop"] == crop
    with pytest.raises(ChangedMeanwhile):
        client.change("PATCH", one, {"caption": "mine"}, if_match=tag)
    assert client.get(one) == changed
    assert client.change("PATCH", one, {"crop": None})["crop"] is None
    assert client.change("PATCH", one, {"caption": ""})["crop"] is None
    set_to = client.change("PUT", "/subjects/zib/captions", {"captions": {there.photo: "a dog on a sofa"}})
    assert set_to[0]["caption"] == "a dog on a sofa"
    edit = {"find": "dog", "replace": "{trigger}"}
    looked = client.post("/subjects/zib/caption-edits", edit, what_if=True)
    assert looked["made_at"] is None and looked["changes"][0]["after"] == "a {trigger} on a sofa"
    assert client.get(one)["caption"] == "a dog on a sofa"
    assert client.post("/subjects/zib/caption-edits", edit)["made_at"] is not None
    assert client.change("DELETE", "/subjects/zib/caption-edits/last")["changes"][0]["after"] == "a dog on a sofa"
    assert client.get("/subjects/zib/photo-health")["photos"] == 6
    assert set(all_of(client.get("/subjects/zib/crops"), "photo")) == set(all_of(photos, "digest"))
    assert all_of(client.get("/subjects/zib/crops", photo=[there.photo]), "photo") == [there.photo]
    assert size_of(client.file(f"{one}/file")) == (320, 320)
    assert size_of(client.file(f"{one}/thumbnail", width=160))[0] == 160
    with pytest.raises(NotFound):
        client.get(f"/subjects/rex/photos/{there.photo}")


def test_datasets(client: Client, there: Seeded) -> None:
    assert there.dataset in all_of(client.items("/datasets", subject="zib"), "digest")
    found = client.get(f"/datasets/{there.dataset[:10]}")
    assert found["photos"] == 6 and len(found["manifest"]["items"]) == 6
    wanted = {"subject": "zib", "base": "limner-tiny"}
    assert client.post("/datasets", wanted)["digest"] == client.post("/datasets", wanted)["digest"]
    packed = zipfile.ZipFile(io.BytesIO(client.file(f"/datasets/{there.dataset}/package", layout="kohya")))
    assert len(packed.namelist()) >= 12
    assert size_of(client.file(f"/datasets/{there.dataset}/crop-sheet"))[0] > 100
    with pytest.raises(InputRefused):
        client.post("/datasets", {"subject": "rex"})


def test_trainings(client: Client, served: Served, there: Seeded) -> None:
    wish = {"subject": "zib", "preset": "quick", "settings": {"steps": 20}}
    looked = client.post("/trainings", wish, what_if=True)
    assert looked["possible"] and float(looked["estimate"]["amount"]) == 0
    before = len(list(client.items("/trainings", subject="zib")))
    started = client.post("/trainings", wish)
    own = f"/trainings/{started['training']['id']}"
    assert started["job"]["state"] == "waiting"
    assert started["training"]["recipe"]["steps"] == 20
    assert len(list(client.items("/trainings", subject="zib"))) == before + 1
    assert client.post(f"{own}/cancel")["cancel_requested"]
    with pytest.raises(Conflict, match="running already"):
        client.post(f"{own}/resume", {})
    stop(served, started["job"]["id"])
    assert client.post(f"{own}/resume", {}, what_if=True)["plans"][0]["back_end"] == "local"
    resumed = client.post(f"{own}/resume", {})
    assert resumed["id"] != started["job"]["id"] and resumed["target"] == started["training"]["id"]
    done = f"/trainings/{there.training}"
    assert client.get(done)["state"] == "done"
    assert all_of(client.get(f"{done}/run")["checkpoints"], "step") == [10, 20, 30]
    assert client.get(f"{done}/losses") == {"losses": [], "rates": []}
    [first, *_] = client.get(f"{done}/samples")
    assert size_of(client.file(f"{done}/samples/{first['step']}/0/file")) == (64, 48)
    assert client.get(f"{done}/checkpoints")[1]["lora"] == there.lora
    assert client.post(f"{done}/checkpoints/20/pick")["name"] == there.lora
    assert client.file(f"{done}/log") == b""
    kept = log_file(served.app.state.studio._workspace, there.training)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("step 10 of 30\nloss 0.5\n")
    assert client.file(f"{done}/log") == b"step 10 of 30\nloss 0.5\n"
    compared = client.post("/training-choices", wish)
    assert compared["choices"][0]["trainer"] == "local" and compared["subject"] == "zib"
    with pytest.raises(RecipeRefused) as refused:
        client.post("/trainings", {"subject": "zib", "settings": {"steps": 0, "rank": 5_000}})
    assert set(refused.value.fields) == {"steps", "rank"}
    with pytest.raises(NotFound):
        client.get("/trainings/training_ffff")


def test_curves_have_a_step_and_a_value_a_point(client: Client, served: Served, there: Seeded) -> None:
    with served.app.state.studio._workspace.database.write() as session:
        session.add(CurvePointRow(training=there.training, curve="rate", step=1, value=0.5))
    assert client.get(f"/trainings/{there.training}/losses")["rates"] == [{"step": 1, "value": 0.5}]


def test_loras(client: Client, there: Seeded) -> None:
    assert all_of(client.items("/loras", subject="zib"), "name") == [there.lora]
    found = client.get("/loras/zib")
    assert found["name"] == there.lora and found["step"] == 20
    plain, kohya = client.file(f"/loras/{there.lora}/file"), client.file(f"/loras/{there.lora}/file", naming="kohya")
    assert len(plain) == found["byte_size"] and b"lora_unet" in kohya
    card = client.change("PUT", f"/loras/{there.lora}/card", {"words": "Made for a test."})
    assert "Made for a test." in card["text"] and client.get(f"/loras/{there.lora}/card") == card
    assert client.post(f"/loras/{there.lora}/publications", {"hub": "folder"})["kind"] == "publish"
    assert client.get(f"/loras/{there.lora}/publications") == []
    assert list(client.items("/publications")) == [] and client.get("/hub-entries", hub="folder") == []
    with pytest.raises(NotFound, match="is not published"):
        client.change("DELETE", f"/loras/{there.lora}/publications")
    with pytest.raises(Conflict):
        client.change("DELETE", f"/loras/{there.lora}")


def test_pictures(client: Client, there: Seeded) -> None:
    loras = [f"{there.lora}:0.8"]
    wish = {"prompt": "a photo of {trigger}", "loras": loras, "count": 2, "seed": 5, "generator": "local"}
    assert client.post("/generations", wish, what_if=True)["possible"]
    made = client.post("/generations", wish)["generation"]
    assert made["count"] == 2 and made["prompt"] == "a photo of zibbo"
    assert made["loras"][0]["scale"] == 0.8
    assert client.get(f"/generations/{made['id']}/wish")["loras"] == [{"name": there.lora, "scale": 0.8}]
    assert client.post("/generation-choices", wish)["choices"][0]["usable"]
    assert client.get("/prompt-templates")
    with pytest.raises(SpendingRefused, match="max_cost"):
        client.post("/generations", {"prompt": "a dog", "base": "flux2-dev", "generator": "together", "max_cost": 0})
    image = f"/images/{there.image}"
    assert len(list(client.items("/images", subject="zib", lora=there.lora))) >= 5
    assert len(list(client.items("/images", limit=3))) == 3
    shown = client.get(image)
    assert shown["steps"] == 8 and shown["media_type"] == "image/png"
    assert client.change("PATCH", image, {"favourite": True})["favourite"]
    assert all_of(client.items("/images", favourite=True), "id") == [there.image]
    assert client.post("/image-favourites", {"images": [there.image], "favourite": False})["count"] == 1
    assert "zib" in client.get("/image-choices")["subjects"]
    months = client.get("/image-months", subject="zib")
    assert sum(all_of(months, "count")) == len(list(client.items("/images", subject="zib")))
    assert "cursor" not in months[0]
    assert size_of(client.file(f"{image}/file")) == (64, 48)
    assert b"zibbo" not in client.file(f"{image}/file", share=True)
    assert client.file(f"{image}/thumbnail")
    assert client.get(f"{image}/provenance")["facts"]
    assert client.get(f"{image}/wish")["seed"] == 7
    with pytest.raises(InputRefused, match="does not say how Limner made it"):
        client.post(f"{image}/reproduction", {})
    with pytest.raises(Conflict, match="drew 0 pictures"):
        client.get(f"{image}/reproduction", job=there.job)
    wanted = {"images": [there.image, there.image + 1]}
    packed = zipfile.ZipFile(io.BytesIO(client.connection.answer("POST", "/image-archive", body=wanted).content))
    assert "metadata.jsonl" in packed.namelist() and len(packed.namelist()) == 3
    assert client.post("/image-deletions", {"images": [there.image + 4]})["count"] == 1
    with pytest.raises(NotFound):
        client.get(f"/images/{there.image + 4}")


def test_grids(client: Client, there: Seeded) -> None:
    axes = {"x": {"name": "scale", "values": [0.5, 1.0]}, "y": {"name": "seed", "values": [1, 2]}}
    wish = {"prompts": ["a drawing of {trigger}"], "loras": [there.lora], "generator": "local", "seed": 1, **axes}
    plan = client.post("/grids", wish, what_if=True)
    assert plan["generations"] == 4 and plan["what_if"]["possible"]
    made = client.post("/grids", wish)
    own, there_is = f"/grids/{made['id']}", f"/grids/{there.grid}"
    assert made["expected"] == 4 and made["state"] == "waiting"
    assert [[len(cell["generations"]) for cell in row] for row in made["cells"]] == [[1, 1], [1, 1]]
    assert client.get(f"/generations/{made['cells'][0][0]['generations'][0]}")["count"] == 1
    assert len(client.get(f"{own}/jobs")) == 4
    assert client.post(f"{own}/cancel")["id"] == made["id"]
    assert all(client.get(f"/jobs/{job}")["cancel_requested"] for job in client.get(f"{own}/jobs"))
    assert len(client.get(there_is)["cells"][0][0]["images"]) == 1
    pair = client.get(f"{there_is}/pair")
    left, right = pair["left"]["id"], pair["right"]["id"]
    vote = client.post(f"{there_is}/votes", {"winner": left, "loser": right, "after": 0})
    assert client.post(f"{there_is}/votes", {"winner": left, "loser": right, "after": 0}) == vote
    assert len(client.get(f"{there_is}/votes")) == 1
    best = client.get(f"{there_is}/ranking")[0]["standings"][0]
    assert best["wins"] == 1 and best["share"] == 1
    assert set(client.get(f"{there_is}/labels")) == {str(left), str(right)}
    with pytest.raises(NotFound):
        client.get(f"{there_is}/pair")
    assert client.change("DELETE", f"{there_is}/votes/last")["winner"] == vote["winner"]
    assert size_of(client.file(f"{there_is}/sheet"))[0] > 64
    assert len(zipfile.ZipFile(io.BytesIO(client.file(f"{there_is}/archive"))).namelist()) >= 2
    assert set(all_of(client.items("/grids"), "id")) == {made["id"], there.grid}
    client.change("DELETE", own)
    assert all_of(client.items("/grids"), "id") == [there.grid]


def test_jobs_and_costs(client: Client, served: Served, there: Seeded) -> None:
    own = f"/jobs/{there.job}"
    found = client.get(own)
    assert found["state"] == "waiting"
    assert client.get(f"{own}/history")[0]["kind"] == "job.waiting"
    assert client.post(f"{own}/cancel")["cancel_requested"]
    stop(served, there.job)
    assert float(client.post(f"{own}/resume", {}, what_if=True)["estimate"]["amount"]) == 0
    again = client.post(f"{own}/resume", {})
    assert again["target"] == found["target"] and again["state"] == "waiting"
    assert there.job in all_of(client.items("/jobs", subject="zib"), "id")
    assert float(client.get("/costs", subject="zib")["total"]) == 0
    assert client.get("/purchases") == []
    assert any(all_of(client.get("/routes", base="limner-tiny"), "works"))
    with pytest.raises(NotFound):
        client.post("/purchases/nothing/decision", {"decision": "drop"})


def test_what_there_is(client: Client) -> None:
    assert "/api/v1/subjects" in client.get("")["resources"]
    assert client.get("/bases/limner-tiny") in client.get("/bases")
    ends = client.get("/back-ends")["back_ends"]
    assert {"trainers", "hubs", "generators"} <= set(ends)
    assert all(end["ready"] == all(all_of(end["needs"], "met")) for kind in ends.values() for end in kind)
    doctor = client.get("/doctor")
    assert doctor["healthy"] and doctor.keys() == {"version", "checks", "healthy"}
    assert client.get("/accounts/replicate") in client.get("/accounts")
    with pytest.raises(NotFound):
        client.get("/accounts/nobody")


def test_settings_and_webhooks(client: Client) -> None:
    found = client.get("/settings")
    assert "HOME" in found["file"]
    changed = client.change("PATCH", "/settings", {"values": {"budget_day": "5"}, "seen": found["seen"]})
    budget = next(one for one in changed["settings"] if one["name"] == "budget_day")
    assert budget["value"].startswith("5") and budget["variable"] == "LIMNER_BUDGET_DAY"
    with pytest.raises(ChangedMeanwhile):
        client.change("PATCH", "/settings", {"values": {"budget_day": "6"}, "seen": found["seen"]})
    with pytest.raises(InputRefused):
        client.change("PATCH", "/settings", {"values": {"budget_day": "plenty"}})
    later = client.change("PATCH", "/settings", {"values": {"budget_day": None}, "seen": changed["seen"]})
    assert later["seen"] != changed["seen"]
    assert client.file("/system/log") == b""
    assert client.get("/webhooks") == []
    for url in ("https://127.0.0.1/x", "https://[::1]/", "http://example.org/", "https://169.254.169.254/latest"):
        with pytest.raises(InputRefused):
            client.post("/webhooks", {"url": url})
    with pytest.raises(NotFound):
        client.post("/webhooks/webhook_none/test")


def test_users_and_tokens(client: Client, served: Served) -> None:
    made = client.post("/users", {"name": "ben", "password": "a long pass phrase"})
    assert not made["admin"] and client.get("/users/ben")["name"] == "ben"
    assert client.change("PATCH", "/users/ben", {"admin": True})["admin"]
    assert all_of(client.items("/users"), "name") == ["anna", "ben"]
    assert client.change("DELETE", "/users/ben/sessions")["count"] == 0
    new = client.post("/tokens", {"name": "for a test", "scopes": ["read"], "days": 2})
    token = f"/tokens/{new['token']['id']}"
    assert new["secret"].startswith("lim_") and client.get(token) == new["token"]
    assert new["token"] in list(client.items("/tokens"))
    assert client.change("DELETE", token)["id"] == new["token"]["id"]
    own = served.app.state.studio.members.add_token("ben's", scopes=("read", "write"), owner="ben").secret
    with Client(served.url, token=own) as bens:
        with pytest.raises(AccessRefused, match="old password is wrong"):
            bens.change("PUT", "/password", {"old": "another pass phrase", "new": "a new pass phrase"})
        with pytest.raises(InputRefused, match="10"):
            bens.change("PUT", "/password", {"old": "a long pass phrase", "new": "short"})
        assert bens.change("PUT", "/password", {"old": "a long pass phrase", "new": "a new pass phrase"}) is None
    assert served.app.state.studio.members.check_password("ben", "a new pass phrase") is not None
    assert client.change("DELETE", "/users/ben")["name"] == "ben"


def test_no_answer_tells_where_the_home_is(client: Client, there: Seeded) -> None:
    home = str(there.settings.home)
    paths = ["/doctor", "/back-ends", "/trainings", "/loras", "/images", "/jobs", "/grids", "/routes", "/datasets"]
    paths += ["/subjects/zib/photos", f"/images/{there.image}/provenance", f"/trainings/{there.training}/run"]
    for path in paths:
        text = client.connection.answer("GET", path).text
        assert home not in text, path
        assert ".limner" not in text, path
        # What only this machine can use is left out of records.
        assert '"path"' not in text or "provenance" in path, path


def test_a_verification_takes_a_flag_and_nothing_like_one(client: Client) -> None:
    with pytest.raises(InputRefused, match="remove_stray"):
        client.post("/system/verification", {"remove_stray": 0})
