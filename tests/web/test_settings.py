"""Settings, accounts, system health and webhooks as pages."""

from __future__ import annotations

import json
import logging
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from limner.errors import AccountRefused
from limner.operations.home.accounts import Accounts
from limner.operations.jobs import lifecycle
from limner.operations.maintenance.actions import Maintenance
from limner.records import Account
from limner.settings import read_settings
from limner.stand_ins.serving import serve
from limner.studio import Studio
from limner.vendors.secrets.tokens import Secret
from tests.stage_requests import StoredRequest
from tests.waiting import PATIENCE


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No .env and no token of whoever runs the tests."""
    monkeypatch.chdir(tmp_path)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "REPLICATE_API_TOKEN", "FAL_KEY", "TOGETHER_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def form_of(text: str, action: str) -> dict[str, str]:
    """What a form of a page would send as it stands."""
    form = text[text.index(f'action="{action}"') :].partition("</form>")[0]
    sent = dict(re.findall(r'<input[^>]*? name="(\w+)" value="([^"]*)"', form))
    for name, options in re.findall(r'<select[^>]*? name="(\w+)"[^>]*>(.*?)</select>', form, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        sent[name] = chosen[1] if chosen else ""
    return {name: value for name, value in sent.items() if name != "csrf_token"}


def test_saving_the_page_as_it_is_changes_nothing(client: TestClient, studio: Studio) -> None:
    sent = form_of(client.get("/settings").text, "/settings")
    assert {"trainer", "budget_day", "workers", "seen"} <= set(sent)
    assert client.post("/settings", data=sent).status_code == 303
    assert not (studio.settings.home / "limner.toml").exists()


def test_a_change_is_written_and_the_running_server_takes_it(client: TestClient, app: Any, studio: Studio) -> None:
    sent = form_of(client.get("/settings").text, "/settings") | {"budget_day": "4.50", "sign_images": "no"}
    assert client.post("/settings", data=sent).status_code == 303
    assert str(app.state.studio.settings.budget_day) == "4.50"
    assert app.state.studio.settings.sign_images is False
    assert "4.50" in client.get("/settings").text
    text = (studio.settings.home / "limner.toml").read_text()
    assert 'budget_day = "4.50"' in text
    assert "workers" not in text


def test_what_the_command_line_changed_is_on_the_page_and_in_the_server(
    client: TestClient, app: Any, studio: Studio
) -> None:
    with Studio(settings=read_settings(studio.settings.home)) as elsewhere:
        elsewhere.settings_file.change({"budget_day": "2.50"})
    sent = form_of(client.get("/settings").text, "/settings")
    assert sent["budget_day"] == "2.50"
    assert str(app.state.studio.settings.budget_day) == "2.50"
    assert client.post("/settings", data=sent | {"workers": "2"}).status_code == 303
    assert 'budget_day = "2.50"' in (studio.settings.home / "limner.toml").read_text()


def test_what_is_wrong_stands_beside_its_field_and_what_was_typed_stays(client: TestClient, studio: Studio) -> None:
    sent = form_of(client.get("/settings").text, "/settings") | {"workers": "lots", "budget_day": "3"}
    answer = client.post("/settings", data=sent)
    assert answer.status_code == 422
    assert 'value="lots"' in answer.text
    assert 'id="f-workers-error"' in answer.text
    assert 'id="f-budget_day-error"' not in answer.text
    assert 'name="budget_day" value="3"' in answer.text
    assert not (studio.settings.home / "limner.toml").exists()


def test_the_environment_wins_and_the_page_says_so(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_TRAINER", "local")
    text = client.get("/settings").text
    assert "LIMNER_TRAINER" in text
    assert 'name="trainer"' not in text
    answer = client.post("/settings", data={"trainer": "fal"})
    assert answer.status_code == 409


def test_the_second_tab_is_told(client: TestClient) -> None:
    sent = form_of(client.get("/settings").text, "/settings")
    client.post("/settings", data=sent | {"workers": "2"})
    late = client.post("/settings", data=sent | {"workers": "3"})
    assert late.status_code == 412
    assert "was changed since this page was opened" in late.text


@pytest.mark.parametrize("name", ["home", "hub_folder", "catalog", "replicate_url", "hosts", "webhooks_to_loopback"])
def test_paths_and_addresses_are_not_changed_from_the_web(client: TestClient, studio: Studio, name: str) -> None:
    answer = client.post("/settings", data={name: "/tmp/elsewhere"})
    assert answer.status_code == 409
    assert not (studio.settings.home / "limner.toml").exists()


def test_an_unknown_field_is_refused(client: TestClient) -> None:
    assert client.post("/settings", data={"model_config": "x"}).status_code == 422


# --- accounts -------------------------------------------------------------------------------------------------------


def test_accounts_say_what_each_is_for_and_hold_no_secret(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPLICATE_API_TOKEN", "r8_averysecrettokenindeed")
    text = client.get("/accounts").text
    assert "Not connected" in text
    assert "Connected" in text
    assert "REPLICATE_API_TOKEN" in text
    assert "averysecret" not in text
    assert 'autocomplete="off"' in text
    assert text.count('type="password"') == 4


def test_a_refused_token_is_never_given_back(
    client: TestClient, app: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def login(self: Accounts, vendor: str, token: str) -> Account:
        Secret(token)
        raise AccountRefused("Replicate does not accept the token. Nothing was kept.", remedy="Make another.")

    monkeypatch.setattr(Accounts, "login", login)
    with caplog.at_level(logging.DEBUG):
        answer = client.post("/accounts/replicate/connect", data={"token": "r8_thewrongsecrettoken"})
    assert answer.status_code == 424
    assert "does not accept" in answer.text
    assert "thewrongsecret" not in answer.text
    assert "thewrongsecret" not in caplog.text


def test_connect_test_and_disconnect(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Account("replicate", "Replicate", "the system's keyring", True, who="anna", scope="all")
    monkeypatch.setattr(Accounts, "login", lambda self, vendor, token: found)
    assert (
        client.post("/accounts/replicate/connect", data={"token": "r8_agoodsecrettoken"}).headers["location"]
        == "/accounts"
    )
    assert "connected as anna" in client.get("/accounts").text
    monkeypatch.setattr(Accounts, "all", lambda self, live=False: [found])
    part = client.post("/accounts/replicate/test", headers={"HX-Request": "true"})
    assert "<html" not in part.text
    assert "Works" in part.text
    assert "<html" in client.post("/accounts/replicate/test").text
    monkeypatch.setattr(Accounts, "logout", lambda self, vendor: Account("replicate", "Replicate", ""))
    assert client.post("/accounts/replicate/disconnect").status_code == 303
    assert client.post("/accounts/nobody/test").status_code == 404


# --- system ---------------------------------------------------------------------------------------------------------


def test_system_health_answers_at_once_and_the_doctor_follows(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    look = Maintenance.doctor

    def doctor(self: Maintenance, *, live: bool = False) -> Any:
        asked.append(live)
        return look(self)

    monkeypatch.setattr(Maintenance, "doctor", doctor)
    text = client.get("/system").text
    assert "free of" in text
    assert not asked
    assert 'hx-get="/system/checks"' in text
    part = client.get("/system/checks").text
    assert "limner-tiny" in part
    assert "Back ends" in part
    assert "<html" not in part
    assert 'hx-get="/system/checks?live=true"' in client.get("/system?live=true").text
    assert "every token" in client.get("/system/checks?live=true").text
    assert "every token" in client.get("/system?whole=true&live=true").text
    assert asked == [False, True, True]


def test_system_health_shows_a_log_without_secrets(client: TestClient, studio: Studio) -> None:
    Secret("r8_asecretinalogline")
    studio._workspace.log_file.parent.mkdir(parents=True, exist_ok=True)
    studio._workspace.log_file.write_text(
        "WARNING first line\nWARNING refused r8_asecretinalogline <script>alert(1)</script>\n"
    )
    text = client.get("/system?whole=true").text
    assert "limner-tiny" in text
    assert "asecretinalogline" not in text
    assert "<script>alert" not in text
    assert "first line" in text


# --- webhooks -------------------------------------------------------------------------------------------------------


@pytest.fixture
def loopback(app: Any) -> None:
    app.state.studio.settings.webhooks_to_loopback = True


@pytest.mark.usefixtures("loopback")
def test_a_webhook_from_adding_to_removing(client: TestClient, studio: Studio) -> None:
    made = client.post("/settings/webhooks", data={"url": "http://127.0.0.1:9/hook", "events": ["job.done"]})
    assert made.status_code == 201
    (webhook,) = studio.webhooks.all()
    secret = studio.webhooks.secret(webhook.id)
    assert secret in made.text.replace("&#43;", "+")
    assert secret not in client.get("/settings/webhooks").text
    assert secret in client.post(f"/settings/webhooks/{webhook.id}/secret").text.replace("&#43;", "+")
    tested = client.post(f"/settings/webhooks/{webhook.id}/test", headers={"HX-Request": "true"})
    assert "not taken" in tested.text
    assert client.get(f"/settings/webhooks?show={webhook.id}").status_code == 200
    assert client.post(f"/settings/webhooks/{webhook.id}/off").status_code == 303
    assert not studio.webhooks.get(webhook.id).active
    assert client.post(f"/settings/webhooks/{webhook.id}/explode").status_code == 404
    assert client.post(f"/settings/webhooks/{webhook.id}/on").status_code == 303
    for delivery in (1, 2**63, 10**30):
        assert client.post(f"/settings/webhooks/{webhook.id}/again", data={"delivery": delivery}).status_code == 303
    assert client.post(f"/settings/webhooks/{webhook.id}/remove").status_code == 303
    assert studio.webhooks.all() == []
    assert client.post(f"/settings/webhooks/{webhook.id}/test").status_code == 404


def test_a_refused_address_stays_in_the_form(client: TestClient, studio: Studio) -> None:
    answer = client.post("/settings/webhooks", data={"url": "https://10.1.2.3/hook", "events": ["job.failed"]})
    assert answer.status_code == 422
    assert "inside a network" in answer.text
    assert 'value="https://10.1.2.3/hook"' in answer.text
    assert studio.webhooks.all() == []
    nothing = client.post("/settings/webhooks", data={"url": "https://1.1.1.1/"})
    assert nothing.status_code == 422


@pytest.mark.usefixtures("loopback")
def test_the_server_delivers_while_it_runs(client: TestClient, studio: Studio) -> None:
    """What happens in any process is told by the server, without anybody asking it."""
    taken: list[bytes] = []
    told = threading.Event()

    async def take(request: Request) -> Response:
        taken.append(await request.body())
        told.set()
        return Response(status_code=204)

    with serve(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as url:
        client.post("/settings/webhooks", data={"url": f"{url}/hook", "events": ["job.waiting"]})
        with studio._workspace.database.write() as session:
            job = lifecycle.add_job(session, kind="train", stages=[StoredRequest("train")], subject=None).id
        assert told.wait(PATIENCE)
    assert json.loads(taken[0])["data"]["job"] == job
