"""Whatever stands where a route looks an id up: a wrong id leads nowhere, and another user's is not there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.settings import Settings
from limner.studio import Studio
from limner.web.access import Rules
from limner.web.app import create_app
from tests.web.access_bench import Person, csrf, visiting
from tests.web.api.seeded import settings_of
from tests.web.everything import HIDDEN, OWNER, Ask, Everything, Route, fill, named_routes

NOWHERE = (404, 412, 422)
HOSTILE = (
    "..",
    "~",
    "..\\..\\windows\\win.ini",
    "a\0b",
    "x" * 1_000,
    "-1",
    "99999999999999999999",
    "<img src=x onerror=alert(1)>",
    "' or 1=1 --",
    "\u202e🐶\ufffd",
    "%",
)
"""Nothing of them has a slash in it: to a server a slash in digits is a slash, and the path that of another route."""
NOBODYS = ("vendor", "base", "layout", "action", "user")
"""Names of things that all users share, or that only admins see."""

NO_ROUTE = b"There is nothing at"
"""What the router says itself, where a path is none of a route's."""
OUTSIDE = (b"root:x:0", b"SQLite format", b"outside of the home")
TOLD = tuple(words.encode() for words in HIDDEN)

GONE = "the photo is not there, which is what was wanted"
LEADS_ON = "GET /images/{number}/file"
BACK = "the page that the form stands on says what is wrong"
HARMLESS: dict[tuple[str, str], tuple[int, str]] = {
    ("POST /subjects/{slug}/photos/{digest}/remove", "digest"): (303, GONE),
    ("POST /subjects/{slug}/photos/{digest}/remove", "slug"): (303, GONE),
    ("POST /settings/users/{name}/{action}", "action"): (303, BACK),
    (LEADS_ON, "number"): (303, "the page that it leads to looks the picture up"),
}
"""A wrong name that is answered otherwise, by its route: with what, and why that is right."""


def settings_in(folder: Path) -> Settings:
    return settings_of(folder / "home").model_copy(update={"webhooks_to_loopback": True})


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Everything]:
    folder = tmp_path_factory.mktemp("filled")
    with Studio(settings=settings_in(folder)) as studio:
        return folder, fill(studio, folder)


@pytest.fixture
def home_settings(filled: tuple[Path, Everything], tmp_path: Path) -> Settings:
    """A home of its own, with everything in it."""
    shutil.copytree(filled[0] / "home", tmp_path / "home", symlinks=True)
    return settings_in(tmp_path)


@pytest.fixture
def everything(filled: tuple[Path, Everything]) -> Everything:
    return filled[1]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_once(seconds: float) -> None:
        pass

    monkeypatch.setattr("limner.vendors.http.client.pause", at_once)


def wrong_words(name: str, right: str) -> Iterator[str]:
    """What looks like an id and is none."""
    if right.isdecimal():
        yield str(int(right) + 100_000)
    elif re.fullmatch("[0-9a-f]{64}", right):
        yield "f" * 64
    elif re.fullmatch("[a-z]+_[0-9a-f]{16}", right):
        yield f"{right.partition('_')[0]}_{'f' * 16}"
    else:
        yield "nobody"
    if name in ("lora", "name"):
        yield "nobody@v1"
    yield from HOSTILE


def spoilt(route: Route, everything: Everything) -> Iterator[tuple[str, str]]:
    """Each name of a route with each wrong word; where two have to belong together, with one of elsewhere."""
    for name in route.names:
        for words in wrong_words(name, everything.id_of(route, name)):
            yield name, words
        if len(route.names) > 1 and name in everything.others and not route.path.startswith("/settings/"):
            yield name, everything.others[name]


def let_in(person: Person, name: str) -> dict[str, str]:
    """Log somebody in; the header that a page of theirs sends along."""
    assert person.log_in(name).status_code == 303
    return {"X-CSRF-Token": csrf(person.get("/").text)}


def answered(person: Person, sent: Ask, token: dict[str, str]) -> Any:
    """The answer to a request that is sent as a page of the person's would send it."""
    options = {**sent.options, "headers": {**token, **sent.options.get("headers", {})}}
    return person.request(sent.method, sent.url, **options)


def test_no_wrong_id_leads_anywhere(home_settings: Settings, everything: Everything, tmp_path: Path) -> None:
    """One name is wrong and the others are right, so that each of them is looked up."""
    (tmp_path / "nobody").write_text("outside of the home")
    app = create_app(home_settings, rules=Rules(login=True))
    wrong: dict[tuple[str, str, int], str] = {}
    with visiting(app, raise_server_exceptions=False) as anna:
        token = let_in(anna, OWNER)
        for route in named_routes(app):
            for name, words in spoilt(route, everything):
                answer = answered(anna, everything.ask(route, **{name: words}), token)
                right = (*NOWHERE, HARMLESS.get((str(route), name), (404, ""))[0])
                told = any(part in answer.content for part in (NO_ROUTE, *OUTSIDE))
                runs = b"<img src=x" in answer.content and "html" in answer.headers.get("content-type", "")
                if answer.status_code not in right or told or runs:
                    wrong[str(route), name, answer.status_code] = words[:60]
    assert not wrong, "\n".join(map(str, wrong.items()))


ERASE = ("delete", "remove", "erase", "discard", "unpublish", "undo", "take")
REFUSED = {
    "POST /api/v1/images/{image}/reproduction": (422, "a picture that no engine drew does not say how it was made"),
    "POST /api/v1/subjects/{subject}/caption-offers": (404, "no caption waits for the photo"),
    "POST /subjects/{slug}/erase": (422, "jobs of the subject wait for their worker"),
}
"""What even its owner is refused here, by its route: with what, and why."""


def harm(route: Route) -> tuple[int, int]:
    """How late a route is asked, so that none takes away what the next needs."""
    if route.method in ("GET", "HEAD"):
        return (0, 0)
    if route.method == "DELETE" or route.path.rpartition("/")[2] in ERASE:
        return (3, -len(route.path))
    return (2 if "{tag}" in route.path else 1, 0)


@pytest.mark.parametrize("api", [True, False], ids=["api", "pages"])
def test_what_is_anothers_is_not_there(home_settings: Settings, everything: Everything, api: bool) -> None:
    """Ben is an admin, so that no right but the ownership stands between him and it; Anna is led where she asks."""
    app = create_app(home_settings, rules=Rules(login=True))
    routes = [one for one in named_routes(app) if not set(one.names) <= set(NOBODYS)]
    routes = [one for one in routes if not one.path.startswith("/settings/users/")]
    routes = [one for one in routes if one.path.startswith("/api/") is api]
    told, closed = [], []
    with visiting(app, raise_server_exceptions=False) as person:
        bens = let_in(person, "ben")
        for route in routes:
            answer = answered(person, everything.ask(route), bens)
            there = 303 if str(route) == LEADS_ON else 404
            if answer.status_code != there or any(words in answer.content for words in (NO_ROUTE, *TOLD)):
                told.append((str(route), answer.status_code))
        person.cookies.clear()
        annas = let_in(person, OWNER)
        for route in sorted(routes, key=harm):
            answer = answered(person, everything.ask(route), annas)
            refused = answer.status_code in (401, 403, 404, 412, 415, 422) or answer.status_code >= 500
            if refused and answer.status_code != REFUSED.get(str(route), (0, ""))[0]:
                closed.append((str(route), answer.status_code, answer.text[:300]))
    assert not told, "\n".join(map(str, told))
    assert not closed, "\n".join(map(str, closed))
