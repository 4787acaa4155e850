"""Every page in a real browser, over a home in which every word that somebody else chose is an attack.

Nothing of it may run, no word may become markup, and no page may complain to the console or break its policy.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from playwright.sync_api import Browser
from sqlalchemy import JSON, String, select

from limner.settings import Settings
from limner.store.models import Row
from limner.studio import Studio
from limner.web.access import Rules
from limner.web.app import create_app

from ..web.everything import OWNER, Everything, every_route, fill
from ..web.test_ids import settings_in
from .chromium import LOOKS, tab

RUN = "globalThis.ran=1"
WORDS = (
    f"</title></textarea></script>'\"><img src=x onerror={RUN}><script>{RUN}</script>"
    f'<svg onload={RUN}><a href="javascript:{RUN}" onmouseover={RUN}>{{{{ 7*7 }}}}${{7*7}}'
    f"[x](javascript:{RUN}) ![x](data:text/html,x) `</code>` \u202eevil\u2028\ufeff"
)
CARD = (
    f"# {WORDS}\n\n<iframe srcdoc='x'>\n\n[go](javascript:{RUN})\n\n<https://a.test/\"onclick={RUN}>\n\n"
    f"| {WORDS} |\n|---|\n"
)
FREE = {
    "subjects": ("name", "class_word"),
    "consents": ("statement", "given_by"),
    "photos": ("source", "caption", "caption_from"),
    "samples": ("prompt",),
    "loras": ("card",),
    "generations": ("prompt",),
    "intents": ("what", "model", "note", "reference"),
    "ledger": ("what", "note"),
    "publications": ("url",),
}
"""Columns of text that comes from others, by their tables."""
SAID = {
    "message",
    "remedy",
    "source",
    "detail",
    "note",
    "caption",
    "prompt",
    "words",
    "title",
    "name",
    "thing",
    "label",
}
"""Names in JSON behind which words of others stand."""
MARKUP = (f"<img src=x onerror={RUN}", f"<script>{RUN}", f"<svg onload={RUN}", "<iframe srcdoc", 'href="javascript:')
LOOK = """() => ({
  ran: globalThis.ran ?? null,
  made: [...document.querySelectorAll('[onerror],[onload],[onclick],[onmouseover],[src="x"],iframe,script:not([src]),'
    + 'a[href^="javascript:" i],[href^="data:" i]')].map((one) => one.outerHTML.slice(0, 200)),
})"""
MORE = (
    "/compare?a={number}&b={number}",
    "/create?prompt={said}&lora={lora}",
    "/gallery?text={said}&subject={slug}",
    "/gallery/window?offset=0&limit=20&newest=999",
    "/images/{number}?file=1",
    "/jobs?state=failed",
    "/jobs/{job}?said={said}",
    "/loras/{lora}?check=1",
    "/subjects/new?name={said}",
    "/subjects/{slug}?report=all",
    "/subjects/{slug}/captions?find=e&replace={said}",
    "/subjects/{slug}/captions?prefix={said}",
    "/settings/webhooks?show={webhook}",
    "/nowhere/{said}",
    "/subjects/{said}",
)
"""Pages that show more when they are asked for more."""
ATTACKED = 60
"""Fewer values than this would mean that the home is not as hostile as it is meant to be."""


def spoilt(value: Any, name: str = "") -> Any:
    """JSON data with an attack wherever words of others stand."""
    if isinstance(value, dict):
        return {key: spoilt(one, key) for key, one in value.items()}
    if isinstance(value, list):
        return [spoilt(one, name) for one in value]
    return WORDS if isinstance(value, str) and value and name in SAID else value


def attack(studio: Studio) -> int:
    """Put the words wherever the database holds some; how many places that were."""
    count = 0
    with studio._workspace.database.write() as session:
        for mapper in Row.registry.mappers:
            table = mapper.local_table.name.removeprefix("limner_")  # type: ignore[attr-defined]
            for row in session.scalars(select(mapper.class_)):
                for column in mapper.columns:
                    held = getattr(row, column.key)
                    if column.key in FREE.get(table, ()) and isinstance(column.type, String):
                        setattr(row, column.key, CARD if column.key == "card" else WORDS)
                        count += 1
                    elif isinstance(column.type, JSON) and held and json.dumps(spoilt(held)) != json.dumps(held):
                        setattr(row, column.key, spoilt(held))
                        count += 1
    return count


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FastAPI, Everything, str, int]]:
    folder = tmp_path_factory.mktemp("hostile words")
    settings: Settings = settings_in(folder)
    with Studio(settings=settings) as studio:
        everything = fill(studio, folder)
        count = attack(studio)
        logs = studio.settings.home / "logs" / "trainings"
        logs.mkdir(parents=True, exist_ok=True)
        (logs / f"{everything.ids['training']}.txt").write_text(f"{WORDS}\n" * 20, encoding="utf-8")
        secret = studio.members.open_session(OWNER)
    app = create_app(settings, rules=Rules(login=True))
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, ws="none", log_config=None, timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    yield app, everything, secret, listening.getsockname()[1]
    app.state.live.stop()
    server.should_exit = True
    thread.join()
    listening.close()
    assert count >= ATTACKED, count


def pages(app: FastAPI, everything: Everything, cookies: dict[str, str]) -> Iterator[tuple[str, str, bool]]:
    """Every address that answers with a page or a part of one, what it answers, and whether it refuses."""
    client = TestClient(app, base_url="http://localhost", cookies=cookies, follow_redirects=False)
    for route in every_route(app):
        if route.method != "GET" or route.path.startswith(("/api/", "/static")) or _goes_on(route.path):
            continue
        yield from _answers(client, everything.ask(route).url)
    for url in MORE:
        yield from _answers(client, url.format(**everything.ids, said=quote(WORDS)))


def _answers(client: TestClient, url: str) -> Iterator[tuple[str, str, bool]]:
    answer = client.get(url)
    assert answer.status_code < 500, (url, answer.text[-300:])
    if "text/html" in answer.headers.get("content-type", ""):
        yield url, answer.text, answer.status_code >= 400


def _goes_on(path: str) -> bool:
    """Whether it is an event stream, which has no end to be waited for."""
    return path.endswith(("/live", "/stream", "/events")) or "/live/" in path


def test_no_words_of_others_become_anything_but_words(
    hostile: tuple[FastAPI, Everything, str, int], browser: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    app, everything, secret, port = hostile
    names = app.state.doorkeeper.names
    wrong: list[str] = []
    base, seen, shown = f"http://127.0.0.1:{port}", 0, 0
    with caplog.at_level(logging.ERROR), tab(browser, base, LOOKS[0]) as it:
        it.page.context.add_cookies([{"name": names.session, "value": secret, "url": base}])
        it.page.on("dialog", lambda dialog: (wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        for url, html, refused in pages(app, everything, {names.session: secret}):
            seen += 1
            shown += "onerror" in html
            wrong += [f"{url}: {markup} in the page" for markup in MARKUP if markup in html]
            it.complaints.clear()
            it.page.goto(base + url)
            found = it.page.evaluate(LOOK)
            # A page that refuses is told of by the browser itself, and a part of a page names no icon.
            told = [one for one in it.complaints if not (refused and base + url in one) and "favicon.ico" not in one]
            if found["ran"] is not None or found["made"] or told:
                wrong.append(f"{url}: {found} {told[:3]}")
    assert not wrong, "\n".join(wrong)
    assert not caplog.records
    assert seen > 50 and shown > 30, (seen, shown)


def test_the_crawler_would_see_what_runs(browser: Browser) -> None:
    """What it looks for is there where nothing is escaped."""
    with tab(browser, "", LOOKS[0]) as it:
        it.page.set_content(f"<html><body>{WORDS}</body></html>")
        it.page.wait_for_function("globalThis.ran === 1")
        assert len(it.page.evaluate(LOOK)["made"]) >= 3
