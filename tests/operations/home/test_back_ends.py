"""Back ends made once a home: one object for all threads and owners, another where the settings are others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from limner import plugins
from limner.errors import NotReady, VendorFailed
from limner.operations.home import back_ends as module
from limner.operations.home.back_ends import Remembered
from limner.operations.home.workspace import Workspace
from limner.settings import Settings
from limner.vendors.huggingface.hub import HubAccount
from tests.network_guard import asked_within_sessions

GROUPS = ("limner.trainers", "limner.hubs", "limner.generators")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(Settings(home=tmp_path / "home"))
    yield made
    made.close()


def test_every_back_end_is_one_object_for_all_threads_and_owners(workspace: Workspace) -> None:
    named = [(group, name) for group in GROUPS for name in plugins.names(group)]
    with ThreadPoolExecutor(8) as pool:
        for group, name in named:
            asked = [pool.submit(one.back_ends.of, group, name) for one in (workspace, workspace.owned_by("ann")) * 8]
            assert len({id(one.result()) for one in asked}) == 1


def test_other_settings_make_another_object_however_they_came(workspace: Workspace) -> None:
    hub = workspace.back_ends.hub("folder")
    assert workspace.back_ends.hub("folder") is hub
    workspace.settings.hub_namespace = "ann"
    by_code = workspace.back_ends.hub("folder")
    assert by_code is not hub and by_code.full_name("rex") == "ann/rex"
    (workspace.home / "limner.toml").write_text('huggingface_url = "http://127.0.0.1:9"\n')
    generator = workspace.back_ends.generator("huggingface")
    assert generator is workspace.back_ends.generator("huggingface")
    assert "127.0.0.1:9" in workspace.back_ends.hub("huggingface").describe().summary
    remembered = workspace.back_ends.remembered
    workspace.settings.base_paths["mine"] = Path("/models/mine")
    assert workspace.back_ends.generator("huggingface") is not generator
    assert workspace.back_ends.remembered is not remembered


def test_what_is_broken_is_looked_at_again(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    real, broken = plugins.back_end, [True]

    def sometimes(group: str, name: str, **settings: Any) -> Any:
        if broken:
            raise NotReady("It lacks a part.")
        return real(group, name, **settings)

    monkeypatch.setattr(plugins, "back_end", sometimes)
    with pytest.raises(NotReady):
        workspace.back_ends.trainer("local")
    broken.clear()
    assert workspace.back_ends.trainer("local").describe().name == "local"


# --- what was answered a moment ago ---------------------------------------------------------------------------------


def test_a_question_is_asked_once_and_its_answer_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    found, asked = Remembered(), []
    questions = {"one": lambda: asked.append(1) or "yes"}
    for _ in range(3):
        assert found.ask(questions, seconds=5) == {"one": "yes"}
    assert len(asked) == 1
    assert found.ask(questions, seconds=5, good=0.0) == {"one": "yes"} and len(asked) == 2
    monkeypatch.setattr(module, "GOOD_SECONDS", 0.0)
    assert found.ask(questions, seconds=5, good=0.0) == {"one": "yes"} and len(asked) == 3


def test_a_failure_is_believed_by_who_compares_and_not_by_who_insists() -> None:
    found, asked = Remembered(), []

    def fail() -> str:
        asked.append(1)
        raise VendorFailed("The hub is away.", remedy="Wait.")

    for _ in range(3):
        assert isinstance(found.ask({1: fail}, seconds=5)[1], VendorFailed)
    assert len(asked) == 1
    first, second = (found.ask({1: fail}, seconds=5, bad=0.0)[1] for _ in range(2))
    assert len(asked) == 3
    assert first is not second and first.remedy == "Wait."


def test_nobody_waits_longer_than_the_limit_and_nothing_is_asked_twice_meanwhile() -> None:
    found, go, asked = Remembered(), threading.Event(), []

    def slow() -> str:
        asked.append(1)
        go.wait(10)
        return "late"

    questions = {"slow": slow, "quick": lambda: "now"}
    assert found.ask(questions, seconds=0.2) == {"quick": "now"}
    assert found.ask(questions, seconds=0.2, bad=0.0) == {"quick": "now"}
    assert len(asked) == 1
    go.set()
    assert found.ask(questions, seconds=5) == {"slow": "late", "quick": "now"}


# --- what must not be shared: another token, an open session -------------------------------------------------------


def test_a_hub_heeds_a_token_that_came_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = HubAccount(Settings(home=tmp_path, huggingface_url="http://127.0.0.1:9"))
    monkeypatch.setenv("HF_TOKEN", "hf_the_first_token")
    first = account.api
    assert account.api is first and first.token == "hf_the_first_token"
    monkeypatch.setenv("HF_TOKEN", "hf_the_second_token")
    assert account.api.token == "hf_the_second_token"


def test_the_guard_sees_what_is_asked_within_a_session(workspace: Workspace) -> None:
    with httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200))) as web:
        web.get("https://hub.example/before")
        with workspace.database.read():
            web.get("https://hub.example/within")
            Remembered().ask({1: lambda: web.get("https://hub.example/thread").status_code}, seconds=5)
        web.get("https://hub.example/after")
    seen = [one.partition("\n")[0].rpartition("/")[2] for one in asked_within_sessions]
    asked_within_sessions.clear()  # or this test would fail by it
    assert seen == ["within", "thread"]
