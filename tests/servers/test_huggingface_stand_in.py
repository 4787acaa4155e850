"""The stand-in Hub is as the Hub: its published description holds, and huggingface_hub's own methods work on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from limner.stand_ins.hub.server import HuggingFaceStandIn
from limner.stand_ins.serving import serve

from .contracts import Validated
from .quick_engine import QuickEngine, quick_lora

UNDESCRIBED = ("/resolve/", "/paths-info/")
"""Routes that huggingface_hub itself uses in another way: without Xet, and with a form instead of JSON."""
LORA = quick_lora("limner-tiny", 4, b"1")
CARD = b"---\nbase_model: limner-tiny\ntags: [limner]\nlicense: apache-2.0\n---\n# x\n"


@pytest.fixture
def hub() -> Iterator[tuple[HuggingFaceStandIn, Validated, str]]:
    made = HuggingFaceStandIn(QuickEngine(), tokens={"hf_ann": "ann", "hf_bob": "bob"})
    checked = Validated(made.app, "huggingface")
    with serve(checked, made) as url:
        yield made, checked, url


def violations(checked: Validated) -> list[object]:
    return [one for one in checked.violations if not any(part in one.path for part in UNDESCRIBED)]


def add(path: str, data: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, data)


def test_all_that_the_client_does_is_as_described(
    hub: tuple[HuggingFaceStandIn, Validated, str], tmp_path: Path
) -> None:
    server, checked, url = hub
    api = HfApi(endpoint=url, token="hf_ann")
    assert api.whoami()["name"] == "ann"
    assert api.create_repo("ann/zib", visibility="private").repo_id == "ann/zib"
    with pytest.raises(HfHubHTTPError) as raised:
        api.create_repo("ann/zib")
    assert raised.value.response.status_code == 409
    api.create_repo("ann/zib", exist_ok=True)
    first = api.model_info("ann/zib")
    assert first.private
    done = api.create_commit(
        "ann/zib",
        [add("README.md", CARD), add("a.safetensors", LORA), add("images/a.png", b"\x89PNG\0")],
        commit_message="one",
        parent_commit=first.sha,
    )
    info = api.model_info("ann/zib", files_metadata=True)
    assert info.sha == done.oid
    assert info.card_data.base_model == "limner-tiny"
    sizes = {one.rfilename: (one.size, one.lfs.sha256 if one.lfs else "") for one in info.siblings}
    assert sizes["a.safetensors"] == (len(LORA), hashlib.sha256(LORA).hexdigest())
    assert {one.path for one in api.list_repo_tree("ann/zib")} == {
        ".gitattributes",
        "README.md",
        "a.safetensors",
        "images",
    }
    assert [one.path for one in api.get_paths_info("ann/zib", ["images/a.png"])] == ["images/a.png"]
    api.create_tag("ann/zib", tag="v1")
    api.create_branch("ann/zib", branch="next")
    refs = api.list_repo_refs("ann/zib")
    assert ({tag.name for tag in refs.tags}, {one.name for one in refs.branches}) == ({"v1"}, {"main", "next"})
    assert [commit.title for commit in api.list_repo_commits("ann/zib")] == ["one", "initial commit"]
    again = api.create_commit("ann/zib", [add("a.safetensors", LORA)], commit_message="nothing new")
    assert again.oid == done.oid
    api.create_commit("ann/zib", [CommitOperationDelete("images/", is_folder=True)], commit_message="two")
    got = api.hf_hub_download("ann/zib", "a.safetensors", revision="v1", local_dir=tmp_path)
    assert Path(got).read_bytes() == LORA
    api.update_repo_settings("ann/zib", visibility="public")
    assert [one.id for one in HfApi(endpoint=url, token=False).list_models(author="ann", filter="limner")] == [
        "ann/zib"
    ]
    api.delete_tag("ann/zib", tag="v1")
    api.delete_repo("ann/zib")
    assert server.repos == {}
    assert [(one.path, one.what[-300:]) for one in violations(checked)] == []
    assert len(checked.seen) > 12


def test_a_commit_on_what_has_moved_is_refused(hub: tuple[HuggingFaceStandIn, Validated, str]) -> None:
    _, _, url = hub
    api = HfApi(endpoint=url, token="hf_ann")
    api.create_repo("ann/zib")
    old = api.model_info("ann/zib").sha
    api.create_commit("ann/zib", [add("a.txt", b"1")], commit_message="x", parent_commit=old)
    with pytest.raises(HfHubHTTPError) as raised:
        api.create_commit("ann/zib", [add("a.txt", b"2")], commit_message="x", parent_commit=old)
    assert raised.value.response.status_code == 412
    with pytest.raises(RevisionNotFoundError):
        api.model_info("ann/zib", revision="v9")


def test_who_may_see_and_change_what(hub: tuple[HuggingFaceStandIn, Validated, str]) -> None:
    server, _, url = hub
    ann, bob, nobody = (HfApi(endpoint=url, token=token) for token in ("hf_ann", "hf_bob", False))
    ann.create_repo("ann/zib", visibility="private")
    for stranger in (bob, nobody):
        with pytest.raises(RepositoryNotFoundError):
            stranger.model_info("ann/zib")
    ann.update_repo_settings("ann/zib", visibility="public", gated="manual")
    assert nobody.model_info("ann/zib").gated == "manual"
    with pytest.raises(GatedRepoError):
        bob.hf_hub_download("ann/zib", ".gitattributes")
    for call in (
        lambda: bob.create_repo("ann/other"),
        lambda: bob.create_commit("ann/zib", [add("a.txt", b"1")], commit_message="x"),
        lambda: bob.delete_repo("ann/zib"),
        lambda: nobody.delete_repo("ann/zib"),
    ):
        with pytest.raises(HfHubHTTPError) as raised:
            call()
        assert raised.value.response.status_code in (401, 403)
    server.revoked.add("hf_ann")
    with pytest.raises(HfHubHTTPError, match="Invalid"):
        ann.whoami()


def test_damaged_uploads_are_not_taken(hub: tuple[HuggingFaceStandIn, Validated, str]) -> None:
    import httpx2

    server, _, url = hub
    HfApi(endpoint=url, token="hf_ann").create_repo("ann/zib")
    digest = hashlib.sha256(LORA).hexdigest()
    batch = {"operation": "upload", "transfers": ["basic"], "objects": [{"oid": digest, "size": len(LORA)}]}
    signed = {"authorization": "Bearer hf_ann"}
    asked = httpx2.post(f"{url}/ann/zib.git/info/lfs/objects/batch", json=batch, headers=signed).json()
    place = asked["objects"][0]["actions"]["upload"]["href"]
    assert httpx2.put(place, content=b"x" * len(LORA)).status_code == 400
    assert digest not in server.contents
    assert httpx2.put(place, content=LORA).status_code == 200
    assert httpx2.put(place.replace("lfs-store/", "lfs-store/0"), content=LORA).status_code == 403
