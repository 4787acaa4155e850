"""Importing, listing, opening and unpublishing from the command line, against a hub on a real socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from limner.cli.main import run
from limner.hubs.hub import WEIGHTS_NAME
from limner.operations.home.workspace import Workspace
from limner.operations.publications import job as publication_job
from limner.settings import Settings
from limner.stand_ins.hub.repos import HubRepo
from limner.stand_ins.hub.server import HuggingFaceStandIn
from limner.types import Visibility
from tests.operations.conftest import kill_all
from tests.servers.hub import TOKEN, hub_server
from tests.servers.quick_engine import quick_lora

__all__ = ["hub_server"]


@pytest.fixture
def lora(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_server: HuggingFaceStandIn) -> Path:
    """A file of a lora; the commands use a home of their own and the hub on the socket."""
    monkeypatch.setenv("LIMNER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIMNER_HUGGINGFACE_URL", hub_server.url)
    monkeypatch.setenv("LIMNER_HUB", "huggingface")
    monkeypatch.setenv("LIMNER_START_WORKER", "false")
    path = tmp_path / "zib.safetensors"
    path.write_bytes(quick_lora("limner-tiny", 4, b"1"))
    return path


def publish(lora: str) -> None:
    workspace = Workspace(Settings())
    publication_job.publish_now(workspace, lora, hub="huggingface", visibility=Visibility.PRIVATE)
    workspace.close()


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run([*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_way_of_a_lora_in_and_out(
    lora: Path, hub_server: HuggingFaceStandIn, capsys: pytest.CaptureFixture[str]
) -> None:
    made = printed(
        capsys, "loras", "import", str(lora), "--subject", "zib", "--kind", "character", "--trigger", "zibbo"
    )
    assert (made["name"], made["base"], made["trigger"]) == ("zib@v1", "limner-tiny", "zibbo")
    publish("zib")
    (entry,) = printed(capsys, "hubs", "list")
    assert (entry["repo"], entry["visibility"], entry["loras"]) == ("ann/zib-lora", "private", ["zib@v1"])
    assert printed(capsys, "loras", "visibility", "zib", "public") == [["huggingface", "ann/zib-lora", "public"]]
    assert not hub_server.repos["ann/zib-lora"].private
    assert run(["loras", "unpublish", "zib"]) == 2
    assert "ann/zib-lora" in hub_server.repos
    capsys.readouterr()
    assert printed(capsys, "loras", "unpublish", "zib", "--yes") == [["huggingface", "ann/zib-lora"]]
    assert printed(capsys, "hubs", "list") == []
    assert hub_server.repos == {}


def test_what_cannot_be_had_is_one_sentence(lora: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source, code in (("ann/nothing", 3), ("https://10.0.0.1/a.safetensors", 2), ("what is this", 2)):
        assert run(["loras", "import", source, "--subject", "zib"]) == code
        said = capsys.readouterr()
        assert said.out == ""
        assert "→" in said.err
        assert TOKEN not in said.err
    assert run(["loras", "unpublish", "zib"]) == 3
    assert run(["loras", "visibility", "zib", "everyone"]) == 2


def test_what_is_on_the_hub_is_fetched_by_a_job(
    lora: Path,
    hub_server: HuggingFaceStandIn,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    repo = HubRepo("ann/zib", True, hub_server.contents)
    repo.commit({WEIGHTS_NAME: repo.keep(lora.read_bytes(), lfs=True)}, summary="x", author="ann")
    hub_server.repos["ann/zib"] = repo
    job = printed(capsys, "loras", "import", "ann/zib", "--subject", "zib", "--detach")
    assert (job["kind"], job["subject"], job["state"]) == ("import", "zib", "waiting")
    monkeypatch.setenv("LIMNER_START_WORKER", "true")
    monkeypatch.setenv("LIMNER_WORKER_IDLE_SECONDS", "1")
    try:
        made = printed(capsys, "loras", "import", "ann/zib", "--subject", "zib")
    finally:
        kill_all(tmp_path / "home")
    assert (made["name"], made["base"]) == ("zib@v1", "limner-tiny")
    assert {one["result"].get("lora") for one in printed(capsys, "jobs", "list")} <= {"zib@v1", None}
