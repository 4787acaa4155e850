"""A LoRA's page: files, card, publishing and taking away; and importing, where nothing inside may be named."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from safetensors.numpy import save
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from limner.errors import LimnerError
from limner.loras.checks.inspection import inspect
from limner.loras.file.header import digests, read_header
from limner.operations.publications import job as publication_job
from limner.stand_ins.serving import serve
from limner.studio import Studio
from limner.types import TensorNaming, Visibility
from limner.web.rendering.markdown import card_html, split_card
from tests.operations.loras_made import TRAINING, add_training
from tests.servers.quick_engine import quick_lora
from tests.web.access_bench import visiting

PARTIAL = {"HX-Request": "true", "HX-Request-Type": "partial"}
PAGE = "/loras/zib@v1"


@pytest.fixture
def lora(studio: Studio) -> str:
    """A version picked from a checkpoint of a subject whose name is an attack."""
    studio.subjects.add("zib", kind="character", name="<script>alert(1)</script>", trigger="zibbo")
    add_training(studio)
    return studio.trainings.pick(TRAINING, 20).name


def test_all_versions_are_listed(client: TestClient, lora: str) -> None:
    page = client.get("/loras")
    assert page.status_code == 200
    assert f'href="/loras/{lora}"' in page.text
    assert "step 20" in page.text
    assert "nowhere" in page.text


def test_without_any_the_page_says_what_to_do(client: TestClient) -> None:
    assert "No LoRA yet" in client.get("/loras").text


def test_the_page_tells_the_facts(client: TestClient, studio: Studio, lora: str) -> None:
    found = studio.loras.get(lora)
    page = client.get(PAGE)
    assert page.status_code == 200
    for fact in (found.digest, found.digest[:10], found.tensor_digest[:12], "limner-tiny", "zibbo", "not scored"):
        assert fact in page.text
    assert f'href="/trainings/{TRAINING}"' in page.text
    assert "<script>alert" not in page.text
    assert not re.search(r"<[^>]+\s(style|on\w+)=", page.text)
    assert client.get("/loras/zib").headers["location"] == PAGE
    assert client.get("/loras/zib@v9").status_code == 404


@pytest.mark.parametrize("naming", ["", "diffusers", "kohya", "bfl"])
def test_files_in_every_naming(client: TestClient, studio: Studio, lora: str, tmp_path: Path, naming: str) -> None:
    answer = client.get(f"{PAGE}/file?naming={naming}")
    assert answer.status_code == 200
    assert "zib-v1" in answer.headers["content-disposition"]
    path = tmp_path / "got.safetensors"
    path.write_bytes(answer.content)
    assert inspect(path).naming == TensorNaming(naming or "diffusers")
    if naming in ("", "diffusers"):
        assert digests(read_header(path)).file == studio.loras.get(lora).digest


def test_a_naming_that_there_is_not(client: TestClient, lora: str) -> None:
    assert client.get(f"{PAGE}/file?naming=../../etc").status_code == 422


# --- the card ---------------------------------------------------------------------------------------------------------


def test_the_owners_words_are_kept_and_woven_in(client: TestClient, studio: Studio, lora: str) -> None:
    words = "# Best at 0.8\n\nMade of *my* dog.\n\n```\nan open fence"
    answer = client.post(f"{PAGE}/card", data={"words": words})
    assert answer.headers["location"] == f"{PAGE}#card"
    assert studio.loras.get(lora).card == words
    page = client.get(PAGE)
    assert "Made of <em>my</em> dog." in page.text
    assert "<h5>Best at 0.8</h5>" in page.text, "below the card's own headings, which are below the page's"
    # what stands after an open fence is the card's own still
    assert re.search(r"<h4>Licence</h4>", page.text)
    card = studio.publications.card(lora)
    assert card.index("## About") < card.index("Made of *my* dog.") < card.index("## Licence")


@pytest.mark.parametrize(
    "words",
    [
        "<script>alert(1)</script>",
        "<!-- and so the rest is gone",
        "<div hidden>",
        "[x](javascript:alert(1))",
        "[x](data:text/html;base64,PHNjcmlwdD4=)",
        "[x](  JaVaScRiPt:alert(1))",
        "![x](https://spy.example/pixel.png)",
        '[x](https://a.example "onmouseover=alert(1)")',
        "~~~~\n~~~\nopen",
        "<Gallery />",
        "\ufeff\u202e\x00".replace("\x00", "") + "text",
    ],
)
def test_no_word_of_the_owner_becomes_more_than_text(client: TestClient, studio: Studio, lora: str, words: str) -> None:
    client.post(f"{PAGE}/card", data={"words": words})
    page = client.get(PAGE).text
    preview = page[page.index('class="card lora-card') : page.index("</article>")]
    assert "<script" not in preview
    assert "<div hidden" not in preview
    assert "<img" not in preview
    assert not re.search(r'href="(?!https?://|#|mailto:)', preview)
    assert "<h4>Licence</h4>" in preview
    assert studio.publications.card(lora).count("## Licence") == 1
    assert not re.search(r"(?<!\\)<(script|div|!--)", studio.publications.card(lora))


def test_words_too_long_come_back_with_the_reason(client: TestClient, studio: Studio, lora: str) -> None:
    words = "x" * 20_001
    answer = client.post(f"{PAGE}/card", data={"words": words})
    assert answer.status_code == 422
    assert "20,001 characters" in answer.text
    assert words in answer.text
    assert studio.loras.get(lora).card == ""


def test_links_of_a_card_are_not_followed_by_robots() -> None:
    rendered = card_html("[Hub](https://huggingface.co) | a |\n\n| a | b |\n|---|---|\n| 1 | 2 |")
    assert 'href="https://huggingface.co" rel="noopener noreferrer nofollow"' in rendered
    assert "<table>" in rendered
    assert split_card("---\na: 1\n---\n\n# x") == ("a: 1", "\n# x")


# --- publishing -------------------------------------------------------------------------------------------------------


def publish(client: TestClient, **more: str) -> Any:
    data = {"wish": "0123456789abcdef", "hub": "folder", "visibility": "private", "repo": "", **more}
    return client.post(f"{PAGE}/publish", data=data)


def test_publishing_is_a_job_and_twice_is_one(client: TestClient, studio: Studio, lora: str) -> None:
    first, again = publish(client), publish(client)
    assert first.status_code == again.status_code == 303
    assert first.headers["location"] == again.headers["location"]
    [job] = studio.jobs.all()
    assert first.headers["location"] == f"/jobs/{job.id}"
    assert (job.kind, job.target) == ("publish", lora)


def test_a_person_without_consent_is_not_made_public(client: TestClient, studio: Studio) -> None:
    studio.subjects.add("zib", kind="person", name="Zib", trigger="zibbo")
    add_training(studio)
    studio.trainings.pick(TRAINING, 20)
    answer = publish(client, visibility="public", repo="ann/zib")
    assert answer.status_code == 409
    assert "no consent" in answer.text
    assert 'value="ann/zib"' in answer.text
    assert re.search(r'name="visibility" value="public" checked', answer.text)
    assert studio.jobs.all() == []


@pytest.mark.parametrize(("field", "value", "status"), [("visibility", "all", 422), ("hub", "nowhere", 422)])
def test_what_cannot_be_published_comes_back(
    client: TestClient, studio: Studio, lora: str, field: str, value: str, status: int
) -> None:
    answer = publish(client, **{field: value})
    assert answer.status_code in (status, 404, 424)
    assert 'class="notice notice-refusal"' in answer.text
    assert studio.jobs.all() == []


def test_where_it_is_published(client: TestClient, studio: Studio, lora: str) -> None:
    publication_job.publish_now(studio._workspace, lora, hub="folder", visibility=Visibility.PRIVATE)
    page = client.get(PAGE)
    assert "limner/zib-lora" in page.text
    assert f'hx-get="{PAGE}/places"' in page.text
    assert "Ready" not in page.text, "the hub is asked later"
    part = client.get(f"{PAGE}/places", headers=PARTIAL)
    assert "Ready" in part.text
    assert "<html" not in part.text
    assert client.get(f"{PAGE}/places").headers["location"] == f"{PAGE}?check=1"
    assert "Ready" in client.get(f"{PAGE}?check=1").text


def test_visibility_unpublish_and_delete(client: TestClient, studio: Studio, lora: str) -> None:
    publication_job.publish_now(studio._workspace, lora, hub="folder", visibility=Visibility.PRIVATE)
    answer = client.post(f"{PAGE}/visibility", data={"visibility": "public", "hub": "folder"})
    assert answer.headers["location"] == f"{PAGE}#places"
    assert studio.publications.all()[0].visibility is Visibility.PUBLIC
    refused = client.post(f"{PAGE}/delete")
    assert refused.status_code == 409
    assert "is published as limner/zib-lora" in html.unescape(refused.text)
    assert client.post(f"{PAGE}/unpublish", data={"hub": "folder"}).status_code == 303
    assert studio.publications.all() == []
    assert client.post(f"{PAGE}/unpublish").status_code == 404
    assert client.post(f"{PAGE}/delete").headers["location"] == "/loras"
    assert client.get(PAGE).status_code == 404


def test_deleting_with_its_publications(client: TestClient, studio: Studio, lora: str) -> None:
    publication_job.publish_now(studio._workspace, lora, hub="folder", visibility=Visibility.PRIVATE)
    assert client.post(f"{PAGE}/delete", data={"unpublish": "yes"}).headers["location"] == "/loras"
    assert (studio.loras.all(), studio.publications.all()) == ([], [])


# --- importing --------------------------------------------------------------------------------------------------------


def take(client: TestClient, source: str = "", file: bytes | None = None, **more: str) -> Any:
    data = {"source": source, "subject": "new", "kind": "style", "trigger": "", "base": "", "name": "", **more}
    files = {"file": ("../../evil.safetensors", file, "application/octet-stream")} if file is not None else None
    return client.post("/loras/import", data=data, files=files)


def test_a_file_is_imported_whatever_its_name(client: TestClient, studio: Studio) -> None:
    answer = take(client, file=quick_lora("limner-tiny", 2, b"x"), trigger="inky")
    assert answer.headers["location"] == "/loras/new@v1"
    assert studio.loras.get("new").trigger == "inky"
    again = take(client, file=quick_lora("limner-tiny", 2, b"x"))
    assert again.headers["location"] == "/loras/new@v1"
    assert len(studio.loras.all()) == 1
    assert not list(Path(studio.settings.home).rglob("evil*"))


def test_a_file_is_imported_by_a_form_without_scripts(app: FastAPI, studio: Studio) -> None:
    with visiting(app) as client:
        action = re.search(r'<form method="post" action="(/loras/import[^"]*)"', client.get("/loras").text)[1]  # type: ignore[index]
        file = {"file": ("a.safetensors", quick_lora("limner-tiny", 2, b"x"), "application/octet-stream")}
        answer = client.post(html.unescape(action), data={"subject": "new", "kind": "style"}, files=file)
    assert answer.headers["location"] == "/loras/new@v1"
    assert list((studio.settings.home / "uploads").iterdir()) == []


def test_a_file_on_its_way_lies_in_the_home_and_leaves_the_reserve(
    client: TestClient, app: FastAPI, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    assert take(client, file=quick_lora("limner-tiny", 2, b"x")).status_code == 303
    monkeypatch.undo()
    monkeypatch.setattr("limner.loras.file.header.LARGEST_FILE", 1000)
    refused = take(client, file=b"x" * 1001, trigger="kept")
    assert (refused.status_code, "more than 1,000 bytes" in refused.text) == (422, True)
    assert 'value="kept"' in refused.text
    app.state.settings.disk_reserve = 1 << 60
    full = take(client, file=b"x" * 1000)
    assert (full.status_code, "no room" in full.text) == (507, True)
    assert list((studio.settings.home / "uploads").iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [
        b"nonsense",
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nabc\r\n' * 2,
        b'--x\r\nContent-Disposition: form-data; name="subject"\r\n\r\n' + b"y" * 200_000,
    ],
)
def test_a_form_that_is_broken_leaves_nothing(client: TestClient, studio: Studio, content: bytes) -> None:
    for kind in ("multipart/form-data; boundary=x", "multipart/form-data", "text/plain"):
        answer = client.post("/loras/import", content=content, headers={"Content-Type": kind})
        assert answer.status_code == 422
    folder = studio.settings.home / "uploads"
    assert not folder.exists() or list(folder.iterdir()) == []


def test_an_open_base_is_a_choice_on_the_page_and_nothing_else_is_lost(client: TestClient, studio: Studio) -> None:
    open_one = quick_lora("flux1-dev", 1, b"x")
    answer = take(client, file=open_one, trigger="kept", rank="")
    assert answer.status_code == 422
    chosen = re.findall(r'<input type="radio" name="base" value="([^"]+)"( checked)?', answer.text)
    assert chosen == [("flux1-dev", ""), ("flux1-schnell", "")]
    assert 'value="kept"' in answer.text
    assert studio.loras.all() == []
    assert take(client, file=open_one, base="flux1-schnell").headers["location"] == "/loras/new@v1"
    assert studio.loras.get("new").base == "flux1-schnell"
    filled = client.get("/loras", params={"source": "ann/zib", "subject": "new", "base": "flux1-dev"}).text
    assert 'value="ann/zib"' in filled
    assert '<option value="flux1-dev" selected>' in filled


def test_what_was_noticed_and_the_original_are_on_the_page(client: TestClient, studio: Studio) -> None:
    chance = np.random.default_rng(3)
    stem = "lora_unet_double_blocks_0_img_attn_proj"
    parts = {f"{stem}.lokr_w1": (8, 8), f"{stem}.lokr_w2": (24, 24)}
    data = save({name: chance.standard_normal(shape).astype(np.float32) for name, shape in parts.items()})
    assert "no number" in take(client, file=data, rank="many").text
    assert take(client, file=data, rank="16").headers["location"] == "/loras/new@v1"
    shown = client.get("/loras/new@v1").text
    (finding,) = studio.loras.get("new").findings
    assert html.escape(finding.message, quote=True).replace("&#x27;", "&#39;") in shown
    assert "imported as LoKr" in shown
    assert client.get("/loras/new@v1/file", params={"naming": "original"}).content == data
    assert client.get("/api/v1/loras/new@v1/file", params={"naming": "original"}).content == data
    told = client.get("/api/v1/loras/new@v1").json()
    assert (told["original"], told["rank"], told["findings"][0]["code"]) == ("lokr", 16, "nearest-lora")


def test_a_file_that_is_none_comes_back_with_the_reason(client: TestClient, studio: Studio) -> None:
    answer = take(client, file=b"<html>not found</html>", trigger="kept")
    assert answer.status_code == 422
    assert "web page" in answer.text
    assert 'value="kept"' in answer.text
    assert studio.subjects.all() == []
    assert take(client).status_code == 422
    assert "Whose LoRA" in take(client, "ann/zib", subject="").text


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "~/.ssh/id_rsa",
        "../secrets.safetensors",
        "./x.safetensors",
        "limner.toml",
        "file:///etc/passwd",
        "http://127.0.0.1:{port}/lora.safetensors",
        "http://localhost:{port}/lora.safetensors",
        "https://localhost:{port}/lora.safetensors",
        "http://[::1]:{port}/lora.safetensors",
        "http://2130706433:{port}/lora.safetensors",
        "http://0x7f000001:{port}/lora.safetensors",
        "http://example.org/a.safetensors",
        "https://10.0.0.1/a.safetensors",
        "https://192.168.1.1/a.safetensors",
        "https://169.254.169.254/latest/meta-data",
        "https://[fe80::1]/a.safetensors",
        "https://[fd00::1]/a.safetensors",
        "https://[::ffff:10.0.0.1]/a.safetensors",
        "https://0.0.0.0/a.safetensors",
        "https://224.0.0.1/a.safetensors",
        "https://ann:secret@1.1.1.1/a.safetensors",
    ],
)
def test_nothing_inside_can_be_named(client: TestClient, studio: Studio, source: str) -> None:
    asked: list[str] = []

    async def answer(request: Request) -> Response:
        asked.append(str(request.url))
        return Response(quick_lora("limner-tiny", 2, b"x"))

    with serve(Starlette(routes=[Route("/{rest:path}", answer)])) as url:
        found = take(client, source.replace("{port}", url.rpartition(":")[2]))
        theirs = client.app.state.studio  # type: ignore[attr-defined]
        with pytest.raises(LimnerError):
            theirs.generate("x", loras=[source.replace("{port}", url.rpartition(":")[2])], generator="local")
    assert found.status_code == 422
    assert asked == []
    assert studio.loras.all() == []
    assert "root:" not in found.text
    assert "secret@" not in re.sub(r'value="[^"]*"', "", found.text)


def test_a_redirect_leads_nowhere_inside(client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public host that sends on to a private one: every hop is looked at, not only the first."""
    from limner.vendors.http import public_web

    asked: list[str] = []

    async def answer(request: Request) -> Response:
        asked.append(request.url.path)
        return RedirectResponse(f"https://{request.query_params['to']}/x.safetensors")

    real = public_web._resolve

    def resolve(host: str, url: str, inside: bool) -> str:
        return "127.0.0.1" if host == "public.example" else real(host, url, inside)

    with serve(Starlette(routes=[Route("/{rest:path}", answer)])) as url:
        port = url.rpartition(":")[2]
        monkeypatch.setattr(public_web, "_resolve", resolve)
        target = public_web.PublicWeb._target

        def plain(self: Any, url: str, inside: bool, headers: dict[str, str]) -> Any:
            found, extensions = target(self, url, inside, headers)
            # the stand-in of the public host has no certificate
            return (found.copy_with(scheme="http"), {}) if "public.example" in url else (found, extensions)

        monkeypatch.setattr(public_web.PublicWeb, "_target", plain)
        for to in ("169.254.169.254", "10.0.0.1", f"127.0.0.1:{port}", f"localhost:{port}", "[fd00::1]"):
            assert take(client, f"https://public.example:{port}/a.safetensors?to={to}").status_code == 303, to
        studio.work(idle_seconds=0.0)
    for job in studio.jobs.all():
        assert job.error is not None
        assert "is not fetched" in job.error.message
    assert asked == ["/a.safetensors"] * 5
    assert studio.loras.all() == []


def test_a_name_that_changes_its_address_is_connected_to_where_it_was_looked_at(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: public when it is checked, private when it is connected to. The name is asked for once a hop."""
    from limner.vendors.http import public_web

    answers = iter([[(2, 1, 6, "", ("203.0.114.9", 443))], [(2, 1, 6, "", ("127.0.0.1", 443))]])
    monkeypatch.setattr(public_web.socket, "getaddrinfo", lambda *a, **k: next(answers))
    targets: list[str] = []

    class Stop(Exception):
        """Far enough."""

    async def send(self: Any, request: Any, **options: Any) -> Any:
        targets.append(f"{request.url.host} {request.headers['host']} {request.extensions['sni_hostname']}")
        raise Stop

    import httpx2

    monkeypatch.setattr(httpx2.AsyncClient, "send", send)
    with pytest.raises(Stop):
        studio.loras.adopt("https://rebind.example/a.safetensors", subject="new", from_here=False)
    assert targets == ["203.0.114.9 rebind.example rebind.example"]


def with_a_public_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """``public.example`` is a stand-in on this machine, that has no certificate."""
    from limner.vendors.http import public_web

    real, target = public_web._resolve, public_web.PublicWeb._target

    def resolve(host: str, url: str, inside: bool) -> str:
        return "127.0.0.1" if host == "public.example" else real(host, url, inside)

    def plain(self: Any, url: str, inside: bool, headers: dict[str, str]) -> Any:
        found, extensions = target(self, url, inside, headers)
        return (found.copy_with(scheme="http"), {}) if "public.example" in url else (found, extensions)

    monkeypatch.setattr(public_web, "_resolve", resolve)
    monkeypatch.setattr(public_web.PublicWeb, "_target", plain)


def test_an_address_is_fetched_by_a_job_that_leads_to_the_lora(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_public_host(monkeypatch)

    async def answer(request: Request) -> Response:
        return Response(quick_lora("limner-tiny", 2, b"x"))

    with serve(Starlette(routes=[Route("/{rest:path}", answer)])) as url:
        address = f"https://public.example:{url.rpartition(':')[2]}/a.safetensors"
        wish = re.search(r'name="wish" value="([^"]+)"', client.get("/loras").text)
        assert wish is not None
        sent = take(client, address, wish=wish[1])
        (job,) = studio.jobs.all()
        assert (sent.status_code, sent.headers["location"]) == (303, f"/jobs/{job.id}")
        assert take(client, address, wish=wish[1]).headers["location"] == f"/jobs/{job.id}"  # sent twice
        assert "Import a LoRA of new" in client.get("/jobs").text
        assert "Import the LoRA" in client.get(f"/jobs/{job.id}").text
        assert studio.loras.all() == []
        studio.work(idle_seconds=0.0)
    assert studio.jobs.get(job.id).result == {"lora": "new@v1"}
    page = html.unescape(client.get(f"/jobs/{job.id}").text)
    assert 'href="/loras/new%40v1"' in page
    assert client.get("/loras/new%40v1").status_code == 200
    assert len(studio.jobs.all()) == 1


def test_an_address_is_fetched_by_the_api_as_a_job(
    client: TestClient, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_public_host(monkeypatch)

    async def answer(request: Request) -> Response:
        return Response(quick_lora("limner-tiny", 2, b"x"))

    with serve(Starlette(routes=[Route("/{rest:path}", answer)])) as url:
        wanted = {"source": f"https://public.example:{url.rpartition(':')[2]}/a.safetensors", "subject": "new"}
        keyed = {"Idempotency-Key": "one-and-the-same"}
        first = client.post("/api/v1/loras", json=wanted, headers=keyed)
        assert (first.status_code, first.json()["kind"]) == (202, "import")
        assert first.headers["location"] == f"/api/v1/jobs/{first.json()['id']}"
        assert client.post("/api/v1/loras", json=wanted, headers=keyed).json()["id"] == first.json()["id"]
        studio.work(idle_seconds=0.0)
        done = client.get(first.headers["location"]).json()
        assert (done["state"], done["result"]) == ("done", {"lora": "new@v1"})
        # It is there: a job that is stopped before its turn leaves it alone.
        second = client.post("/api/v1/loras", json=wanted).json()["id"]
        assert client.post(f"/api/v1/jobs/{second}/cancel").status_code in (200, 202)
        studio.work(idle_seconds=0.0)
    assert client.get(f"/api/v1/jobs/{second}").json()["state"] == "cancelled"
    assert [one.name for one in studio.loras.all()] == ["new@v1"]


@pytest.mark.parametrize("version", ["9" * 20, "9" * 5_000, "\u0661"])
@pytest.mark.usefixtures("lora")
def test_a_version_that_no_lora_can_have_is_not_found(client: TestClient, version: str) -> None:
    for path in ("/loras/zib@v{}", "/api/v1/loras/zib@v{}", "/api/v1/loras/zib@v{}/card"):
        # Of a name that is too long for one the API says so.
        assert client.get(path.format(version)).status_code in (404, 422), path
    wish = {"prompt": "x", "loras": [{"name": f"zib@v{version}"}]}
    answer = client.post("/api/v1/generations", json=wish)
    assert answer.status_code in (404, 422) and answer.json()["remedy"], answer.text
