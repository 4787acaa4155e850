"""limner webhooks and settings: what they print, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limner.cli.main import run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LIMNER_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LIMNER_START_WORKER", "false")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def answered(capsys: pytest.CaptureFixture[str], *words: str) -> object:
    assert run([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_webhook_from_adding_to_removing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_WEBHOOKS_TO_LOOPBACK", "true")
    made = answered(capsys, "webhooks", "add", "http://127.0.0.1:9/hook", "--event", "job.done")
    assert isinstance(made, dict)
    webhook, secret = made["webhook"]["id"], made["secret"]
    assert answered(capsys, "webhooks", "secret", webhook) == {"secret": secret}
    assert run(["webhooks", "test", webhook]) == 1
    assert "cannot be reached" in capsys.readouterr().out
    assert answered(capsys, "webhooks", "deliveries", webhook) == []
    off = answered(capsys, "webhooks", "off", webhook)
    assert isinstance(off, dict)
    assert off["active"] is False
    assert run(["webhooks", "on", webhook]) == 0
    assert run(["webhooks", "again", webhook, "7"]) == 3
    assert run(["webhooks", "remove", webhook, "--yes"]) == 0
    capsys.readouterr()
    assert answered(capsys, "webhooks", "list") == []
    assert run(["webhooks", "secret", webhook]) == 3


@pytest.mark.parametrize(
    "address",
    [
        "https://10.0.0.1/hook",
        "https://169.254.169.254/hook",
        "https://[::1]/hook",
        "https://[64:ff9b::a00:1]/hook",
        "http://1.1.1.1/hook",
        "https://localhost/hook",
        "/etc/passwd",
    ],
)
def test_an_address_inside_a_network_is_refused(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert run(["webhooks", "add", address]) == 2
    assert "Give a public https address" in capsys.readouterr().err
    assert answered(capsys, "webhooks", "list") == []


@pytest.mark.parametrize("address", ["https://10.0.0.1/a.safetensors", "https://[fd00::1]/a.safetensors"])
def test_no_lora_is_fetched_from_inside_a_network(capsys: pytest.CaptureFixture[str], address: str) -> None:
    assert run(["loras", "import", address, "--subject", "new"]) == 2
    assert "inside a network" in " ".join(capsys.readouterr().err.split())
    assert run(["generate", "x", "--lora", address]) == 2
    assert "inside a network" in " ".join(capsys.readouterr().err.split())


def test_settings_are_listed_changed_and_refused(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    assert run(["settings", "set", "budget_day", "5"]) == 0
    assert "budget_day is 5 now." in capsys.readouterr().out
    found = answered(capsys, "settings")
    assert isinstance(found, dict)
    by_name = {one["name"]: one for one in found["settings"]}
    assert (by_name["budget_day"]["value"], by_name["budget_day"]["source"]) == ("5", "limner.toml")
    assert by_name["start_worker"]["source"] == "environment"
    assert run(["settings", "set", "start_worker", "yes"]) == 4
    assert run(["settings", "set", "budget_day", "much"]) == 2
    assert run(["settings", "set", "nothing", "1"]) == 2
    capsys.readouterr()
    assert run(["settings", "unset", "budget_day"]) == 0
    assert "not set" in capsys.readouterr().out
    assert (home / "limner.toml").read_text() == ""
    assert run(["settings"]) == 0
    assert "US dollars a day" in capsys.readouterr().out
