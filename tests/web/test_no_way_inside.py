"""Server-side request forgery: no address named through web or API leads into the network, nor a path onto the disk.

Each way in is tried with real sockets: a trap listens on this machine, and nothing may ever reach it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from limner.operations.jobs import lifecycle
from limner.operations.webhooks.delivery import deliver_due
from limner.stand_ins.serving import serve
from limner.studio import Studio
from limner.vendors.http import public_web
from tests.lora_rows import add_lora
from tests.stage_requests import StoredRequest

ADDRESSES = (
    "https://127.0.0.1/a.safetensors",
    "http://localhost:8080/a.safetensors",
    "https://[::1]/a.safetensors",
    "https://[::ffff:127.0.0.1]/a.safetensors",
    "https://[64:ff9b::a9fe:a9fe]/a.safetensors",
    "https://2130706433/a.safetensors",
    "https://127.1/a.safetensors",
    "https://10.0.0.1/a.safetensors",
    "https://192.168.0.1/a.safetensors",
    "https://169.254.169.254/latest/meta-data/a.safetensors",
    "http://169.254.169.254/a.safetensors",
    "https://[fd00:ec2::254]/a.safetensors",
    "https://[fe80::1]/a.safetensors",
    "https://0.0.0.0/a.safetensors",
    "http://example.org/a.safetensors",
    "https://user:secret@1.1.1.1/a.safetensors",
    "file:///etc/passwd",
    "ftp://10.0.0.1/a.safetensors",
)
PATHS = (
    "/etc/passwd",
    "../../../etc/passwd",
    "./a.safetensors",
    "~/a.safetensors",
    "a.safetensors",
    "loras/a.safetensors",
    "C:\\a.safetensors",
    "\\\\server\\share\\a.safetensors",
)


class Trap:
    """A server of this machine that nobody may ask for anything."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.app = Starlette(routes=[Route("/{rest:path}", self.take, methods=["GET", "POST", "HEAD"])])

    async def take(self, request: Request) -> Response:
        self.asked.append(f"{request.method} {request.url}")
        return Response(b"\0" * 64)


@pytest.fixture
def trap() -> Trap:
    return Trap()


@pytest.fixture
def trapped(trap: Trap) -> Iterator[str]:
    with serve(trap.app) as url:
        yield url


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    def pause(seconds: float) -> None:
        raise AssertionError(f"waited {seconds} s to try a refused address again")

    monkeypatch.setattr(public_web, "PAUSE", pause)


def imported(client: TestClient, source: str) -> tuple[int, str]:
    answer = client.post("/loras/import", data={"source": source, "subject": "new", "kind": "style"})
    return answer.status_code, answer.text


def imported_by_api(client: TestClient, source: str) -> tuple[int, str]:
    answer = client.post("/api/v1/loras", json={"source": source, "subject": "new"})
    return answer.status_code, answer.text


def drawn(client: TestClient, source: str) -> tuple[int, str]:
    answer = client.post("/api/v1/generations", json={"prompt": "x", "loras": [source]})
    return answer.status_code, answer.text


def looked_at(client: TestClient, source: str) -> tuple[int, str]:
    answer = client.post("/api/v1/generations?what_if=true", json={"prompt": "x", "loras": [source]})
    return answer.status_code, answer.text


def compared(client: TestClient, source: str) -> tuple[int, str]:
    answer = client.post("/api/v1/generation-choices", json={"prompt": "x", "loras": [source]})
    return answer.status_code, answer.text


def gridded(client: TestClient, source: str) -> tuple[int, str]:
    axis = {"name": "scale", "values": [0.5, 1.0]}
    answer = client.post("/api/v1/grids", json={"prompts": ["x"], "loras": [source], "x": axis})
    return answer.status_code, answer.text


def drawn_by_form(client: TestClient, source: str) -> tuple[int, str]:
    answer = client.post("/create", data={"prompt": "x", "address": source, "address_scale": "1", "wish": "a" * 32})
    return answer.status_code, answer.text


def gridded_by_form(client: TestClient, source: str) -> tuple[int, str]:
    fields = {"prompt": "x", "address": source, "do": "grid", "x": "scale", "x_values": "0.5, 1", "wish": "a" * 32}
    answer = client.post("/create", data=fields)
    return answer.status_code, answer.text


DRAWING = (drawn, looked_at, compared, gridded, drawn_by_form, gridded_by_form)
"""What asks for the beginning of the file at once."""
WAYS = (imported, imported_by_api, *DRAWING)
FORMS = (imported, drawn_by_form, gridded_by_form)
"""What comes back as it was typed."""


@pytest.mark.parametrize("way", WAYS)
def test_no_address_of_a_lora_leads_inside(client: TestClient, studio: Studio, way: Any) -> None:
    for address in ADDRESSES:
        status, text = way(client, address)
        assert 400 <= status < 500 or status == 502, (address, status, text[:300])
        assert "secret" not in text or way in FORMS, address
    assert studio.jobs.all() == []
    assert studio.loras.all() == []


@pytest.mark.parametrize("way", WAYS)
def test_a_server_of_this_machine_is_never_asked(client: TestClient, trap: Trap, trapped: str, way: Any) -> None:
    for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"):
        port = trapped.rpartition(":")[2]
        for scheme in ("http", "https"):
            status, _ = way(client, f"{scheme}://{host}:{port}/a.safetensors")
            assert status >= 400
    assert trap.asked == []


@pytest.mark.parametrize("way", WAYS)
def test_no_path_of_a_lora_is_looked_up(
    client: TestClient, studio: Studio, way: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There or not, readable or not: the answer is the same, so nobody learns what is on the disk."""
    monkeypatch.chdir(tmp_path)
    before = {path: way(client, path) for path in PATHS}
    (tmp_path / "loras").mkdir()
    for name in ("a.safetensors", "loras/a.safetensors"):
        (tmp_path / name).write_bytes(b"not a lora, but here")
    for path, (status, _) in before.items():
        again, text = way(client, path)
        assert again == status, path
        assert 400 <= status < 500, (path, status)
        assert "not a lora, but here" not in text
        assert "file on this machine" not in text
    assert studio.loras.all() == []


@pytest.mark.parametrize("way", WAYS)
def test_a_name_that_leads_inside_is_refused_though_it_looked_public_before(
    client: TestClient, trap: Trap, trapped: str, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: each look of the name at this machine is refused, and no look is left to the connection."""
    port = int(trapped.rpartition(":")[2])
    asked: list[str] = []
    real = public_web.socket.getaddrinfo

    def answer(host: Any, *given: Any, **options: Any) -> Any:
        if host != "rebind.example":
            return real(host, *given, **options)
        asked.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(public_web.socket, "getaddrinfo", answer)
    status, _ = way(client, f"https://rebind.example:{port}/a.safetensors")
    assert status == 422
    assert len(asked) == 1
    assert trap.asked == []


class Line:
    """The connections that are made, by what they lead to, and what each is answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: list[str], answers: list[httpx2.Response]) -> None:
        self.targets: list[tuple[str, str]] = []
        real = public_web.socket.getaddrinfo

        def look_up(host: Any, port: Any, *given: Any, **options: Any) -> Any:
            if host != "rebind.example":
                return real(host, port, *given, **options)
            return [(2, 1, 6, "", (names.pop(0) if len(names) > 1 else names[0], port))]

        async def send(_: httpx2.AsyncClient, request: httpx2.Request, **options: Any) -> httpx2.Response:
            self.targets.append((request.url.host, request.extensions["sni_hostname"]))
            if not answers:
                raise httpx2.ConnectError("broken off", request=request)
            answer = answers.pop(0)
            answer.request = request
            return answer

        monkeypatch.setattr(public_web.socket, "getaddrinfo", look_up)
        monkeypatch.setattr(httpx2.AsyncClient, "send", send)
        monkeypatch.setattr(public_web, "PAUSE", lambda seconds: None)


@pytest.mark.parametrize("way", DRAWING)
def test_a_name_that_turns_inside_is_connected_to_where_it_was_looked_at(
    client: TestClient, studio: Studio, way: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is looked at, private when the line is tried again."""
    line = Line(monkeypatch, ["1.1.1.1", "127.0.0.1"], [])
    status, text = way(client, "https://rebind.example/a.safetensors")
    assert line.targets == [("1.1.1.1", "rebind.example")]
    assert status == 422 and "inside a network" in text
    assert studio.jobs.all() == []


@pytest.mark.parametrize("way", DRAWING)
@pytest.mark.parametrize(
    "location",
    ["https://127.0.0.1/a", "http://1.1.1.1/a", "//169.254.169.254/latest", "https://[::ffff:10.0.0.1]/a", "file:///a"],
)
def test_a_public_address_that_sends_inside_is_not_followed(
    client: TestClient, studio: Studio, way: Any, location: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two of them, for the form that asks what a picture and the grid cost.
    answers = [httpx2.Response(302, headers={"location": location}) for _ in range(2)]
    line = Line(monkeypatch, ["1.1.1.1"], answers)
    status, _ = way(client, "https://rebind.example/a.safetensors")
    assert status in (422, 502)
    assert set(line.targets) == {("1.1.1.1", "rebind.example")}
    assert studio.jobs.all() == []


def test_a_link_to_create_and_a_lora_of_its_list_lead_to_no_path_and_no_inner_address(
    client: TestClient, studio: Studio
) -> None:
    add_lora(studio, "zibbo")
    for source in (
        "/etc/passwd",
        "./a.safetensors",
        "https://10.0.0.1/a.safetensors",
        "http://127.0.0.1/a.safetensors",
    ):
        answer = client.get("/create", params={"prompt": "x", "lora": source})
        assert answer.status_code == 200 and 'id="f-address-error"' in answer.text, source
        sent = client.post("/create", data={"prompt": "x", "lora": source, "scale": "1", "wish": "a" * 32})
        assert sent.status_code == 422, source
    assert studio.jobs.all() == []


# --- webhooks -------------------------------------------------------------------------------------------------------


def test_no_webhook_leads_inside(client: TestClient, studio: Studio, trap: Trap, trapped: str) -> None:
    for address in (*ADDRESSES, trapped, trapped.replace("http:", "https:")):
        answer = client.post("/settings/webhooks", data={"url": address, "events": ["job.done"]})
        assert answer.status_code in (422, 502), address
    assert studio.webhooks.all() == []
    assert trap.asked == []


def end_a_job(studio: Studio) -> None:
    database = studio._workspace.database
    with database.write() as session:
        job = lifecycle.add_job(session, kind="train", stages=[StoredRequest("train")], subject=None)
    lifecycle.start_stage(database, job.id, 0)
    lifecycle.end_stage(database, job.id, 0, result={})
    lifecycle.end_job(database, job.id)


def test_a_webhook_that_turned_inside_after_it_was_added_reaches_nothing(
    app: FastAPI, studio: Studio, trap: Trap, trapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(trapped.rpartition(":")[2])
    answers = ["1.1.1.1", "127.0.0.1", "10.0.0.1", "169.254.169.254"]
    real = public_web.socket.getaddrinfo

    def answer(host: Any, *given: Any, **options: Any) -> Any:
        if host != "rebind.example":
            return real(host, *given, **options)
        return [(2, 1, 6, "", (answers.pop(0), port))]

    monkeypatch.setattr(public_web.socket, "getaddrinfo", answer)
    made = studio.webhooks.add(f"https://rebind.example:{port}/hook").webhook
    end_a_job(studio)
    assert deliver_due(studio._workspace) == 1
    (lost,) = studio.webhooks.deliveries(made.id)
    assert "inside a network" in lost.note
    assert "inside a network" in studio.webhooks.test(made.id).note
    assert "inside a network" in studio.webhooks.test(made.id).note
    assert trap.asked == []
    assert answers == []


def test_a_webhook_that_sends_elsewhere_is_not_followed(studio: Studio, trap: Trap, trapped: str) -> None:
    studio.settings.webhooks_to_loopback = True

    async def elsewhere(request: Request) -> Response:
        return RedirectResponse(f"{trapped}/inner", 307)

    with serve(Starlette(routes=[Route("/hook", elsewhere, methods=["POST"])])) as url:
        made = studio.webhooks.add(f"{url}/hook").webhook
        end_a_job(studio)
        assert deliver_due(studio._workspace) == 1
        assert not studio.webhooks.test(made.id).ok
    (waiting,) = studio.webhooks.deliveries(made.id)
    assert (waiting.state, waiting.status) == ("waiting", 307)
    assert trap.asked == []
