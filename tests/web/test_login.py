"""Where everybody has to log in: pages, sessions, tokens, users, and forms whose session has ended."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from sqlalchemy import select, update
from starlette.requests import Request
from starlette.types import Message

from limner.errors import Conflict, InputRefused
from limner.settings import Settings
from limner.store.models import now
from limner.store.web_models import SessionRow
from limner.studio import Studio
from limner.web.access import Rules
from limner.web.access.paths import is_api
from limner.web.app import create_app
from limner.web.serve import Address, _said, rules_for, serve_studio

from .access_bench import HOME, PASSWORDS, csrf, form, guarded, members, visiting  # noqa: F401


@pytest.fixture
def server(guarded: FastAPI) -> FastAPI:  # noqa: F811
    """With a route that takes a form, and one that says who asks."""
    guarded.state.done = []

    async def act(request: Request) -> PlainTextResponse:
        fields = await request.form()
        guarded.state.done.append(dict(fields))
        return PlainTextResponse("done")

    async def who(request: Request) -> PlainTextResponse:
        visitor = request.state.visitor
        return PlainTextResponse(f"{visitor.user} {visitor.owner} {visitor.admin} {' '.join(sorted(visitor.scopes))}")

    guarded.router.add_route("/act", act, methods=["POST"])
    for path in ("/who", "/api/v1/who"):
        guarded.router.add_route(path, who, methods=["GET", "POST"])
    return guarded


# --- the door ---------------------------------------------------------------------------------------------------------


def paths_of(routes: Any, prefix: str = "") -> set[str]:
    """The paths of all routes, with something in place of what is in braces."""
    found = set()
    for route in routes:
        if hasattr(route, "original_router"):
            found |= paths_of(route.original_router.routes, prefix + route.include_context.prefix)
        else:
            found.add(re.sub(r"\{[^}]*\}", "1", prefix + getattr(route, "path", "")))
    return {path for path in found if path.startswith("/") and not path.startswith("/static")}


def test_nobody_gets_anything_without_a_login(server: FastAPI) -> None:
    with visiting(server) as client:
        paths = sorted(paths_of(server.routes) | {"/images/1", "/nowhere"})
        assert len(paths) > 60
        for path in paths:
            answer = client.get(path)
            if path == "/login":
                assert answer.status_code == 200
            elif is_api(path):
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"].startswith("Bearer")
                assert answer.headers["content-type"] == "application/problem+json"
            else:
                assert answer.status_code == 303, path
                assert answer.headers["location"].startswith("/login")
            if path != "/login":
                for method in ("POST", "PUT", "PATCH", "DELETE"):
                    assert client.request(method, path).status_code == 401, path
        assert client.get("/static/icon.svg").status_code == 200


def test_after_the_login_one_is_where_one_wanted_to_be(server: FastAPI) -> None:
    with visiting(server) as client:
        first = client.get("/who?page=2")
        assert first.headers["location"] == "/login?next=/who%3Fpage%3D2"
        answer = client.log_in("anna", "/who?page=2")
        assert (answer.status_code, answer.headers["location"]) == (303, "/who?page=2")
        said = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(said.split("; "))
        seen = client.get("/who")
        assert seen.text == "anna anna True admin read spend write"
        assert seen.headers["cache-control"] == "no-store"
        assert client.get("/login?next=/who").headers["location"] == "/who"
    with visiting(server) as client:
        client.log_in("ben")
        assert client.get("/who").text == "ben ben False read spend write"


def test_a_wrong_name_and_a_wrong_password_are_answered_alike(server: FastAPI) -> None:
    answers = []
    with visiting(server) as client:
        fields = form(client.get("/login").text, "/login")
        for name, password in (("anna", "not her password"), ("nobody", "not her password"), ("anna", "")):
            answer = client.post("/login", data=fields | {"name": name, "password": password})
            assert answer.status_code == 403
            assert "set-cookie" not in answer.headers
            answers.append(answer.text.replace(f'value="{name}"', ""))
        assert answers[0] == answers[1] == answers[2]


def test_a_name_that_is_not_there_costs_a_hash_too(server: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2 import PasswordHasher

    tried = []
    verify = PasswordHasher.verify
    monkeypatch.setattr(PasswordHasher, "verify", lambda self, *given: tried.append(given) or verify(self, *given))
    door = server.state.doorkeeper
    assert door.log_in("nobody", "some password", "10.0.0.1") is None
    assert door.log_in("anna", "some password", "10.0.0.1") is None
    assert len(tried) == 2


def test_guessing_has_to_wait(server: FastAPI) -> None:
    with visiting(server) as client:
        fields = form(client.get("/login").text, "/login") | {"name": "anna"}
        codes = [client.post("/login", data=fields | {"password": f"guess {n}"}).status_code for n in range(6)]
        assert codes == [403] * 5 + [429]
        answer = client.post("/login", data=fields | {"password": PASSWORDS["anna"]})
        assert answer.status_code == 429, "the right one has to wait as well"
        assert int(answer.headers["retry-after"]) >= 1


def test_a_stranger_behind_the_proxy_keeps_nobody_else_waiting(home_settings: Settings, members: Any) -> None:  # noqa: F811
    app = create_app(home_settings, rules=Rules(login=True, secure=True))
    with visiting(app, client=("127.0.0.1", 1)) as client:
        client.base_url = "https://localhost"

        def log_in(name: str, password: str, address: str) -> int:
            fields = form(client.get("/login").text, "/login") | {"name": name, "password": password}
            headers = {"X-Forwarded-For": address, "Origin": "https://localhost"}
            return client.post("/login", data=fields, headers=headers).status_code

        codes = [log_in(f"stranger{n}", "a wrong password", f"10.0.0.{n}, 203.0.113.9") for n in range(6)]
        assert codes == [403] * 5 + [429]
        assert log_in("anna", PASSWORDS["anna"], "198.51.100.7") == 303


def test_wrong_old_passwords_of_one_keep_no_other_from_changing_theirs(server: FastAPI) -> None:
    with visiting(server, client=("10.0.0.1", 1)) as anna, visiting(server, client=("10.0.0.2", 1)) as ben:
        for one, name in ((anna, "anna"), (ben, "ben")):
            one.log_in(name)
        wrong = {"csrf_token": csrf(ben.get("/settings/tokens").text), "old": "wrong", "password": "another password"}
        for _ in range(6):
            ben.post("/settings/password", data=wrong)
        right = {"csrf_token": csrf(anna.get("/settings/tokens").text), "old": PASSWORDS["anna"]}
        anna.post("/settings/password", data=right | {"password": "annas new password"})
        assert server.state.studio.members.check_password("anna", "annas new password")


def test_a_login_that_another_page_forged_is_none(server: FastAPI) -> None:
    with visiting(server) as client:
        fields = form(client.get("/login").text, "/login") | {"name": "ben", "password": PASSWORDS["ben"]}
        assert client.post("/login", data=fields, headers={"Origin": "https://evil.example"}).status_code == 403
        answer = client.post("/login", data=fields | {"csrf_token": "forged"})
        assert answer.status_code == 403
        assert PASSWORDS["ben"] not in answer.text
        assert form(answer.text, "/login")["name"] == "ben"
        assert client.get("/who").status_code == 303


def asked(app: FastAPI, path: str, kind: str, pieces: int) -> tuple[int, int]:
    """The status that a stranger is answered who sends so many pieces of 100 kB, and how many of them were taken."""
    taken = 0
    answers = []

    async def receive() -> Message:
        nonlocal taken
        taken += 1
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": taken < pieces}

    async def send(message: Message) -> None:
        answers.append(message)

    head = {"host": "localhost", "content-type": kind, "content-length": str(pieces * 100_000)}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "query_string": b"csrf_token=guessed",
        "headers": [(name.encode(), value.encode()) for name, value in head.items()],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 80),
    }
    asyncio.run(app(scope, receive, send))
    return answers[0]["status"], taken


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/login", "multipart/form-data; boundary=x", 413),
        ("/loras/import", "multipart/form-data; boundary=x", 401),
        ("/subjects/zibbo/drop", "multipart/form-data; boundary=x", 401),
        ("/api/v1/uploads", "application/offset+octet-stream", 401),
        ("/api/v1/subjects", "application/offset+octet-stream", 413),
    ],
)
def test_of_a_stranger_no_large_body_is_taken(server: FastAPI, path: str, kind: str, status: int) -> None:
    assert asked(server, path, kind, 10_000) == (status, 0)


# --- sessions ---------------------------------------------------------------------------------------------------------


def rows(app: FastAPI) -> list[Any]:
    with app.state.studio._workspace.database.read() as session:
        return list(session.scalars(select(SessionRow)))


def test_every_login_has_a_session_of_its_own(server: FastAPI) -> None:
    with visiting(server) as client:
        client.log_in("anna")
        first = client.cookies.get(server.state.doorkeeper.names.session)
        fields = {"csrf_token": csrf(client.get("/settings/tokens").text)}
        page = {"name": "anna", "password": PASSWORDS["anna"], **fields}
        assert client.post("/login", data=page).status_code == 303
        assert client.cookies.get(server.state.doorkeeper.names.session) != first
        assert len(rows(server)) == 1


def test_who_logs_out_is_out_at_once(server: FastAPI) -> None:
    with visiting(server) as client, visiting(server) as phone:
        for one in (client, phone):
            one.log_in("anna")
        kept = client.cookies.get(server.state.doorkeeper.names.session)
        assert client.post("/logout", data={"csrf_token": csrf(client.get("/settings/tokens").text)}).status_code == 303
        assert client.get("/who").status_code == 303
        client.cookies.set(server.state.doorkeeper.names.session, kept)
        assert client.get("/who").status_code == 303, "the old cookie is worth nothing"
        assert phone.get("/who").status_code == 200
        token = csrf(phone.get("/settings/tokens").text)
        assert phone.post("/logout", data={"csrf_token": token, "everywhere": "yes"}).status_code == 303
        assert rows(server) == []


def test_a_session_that_is_used_goes_on_and_one_that_is_not_ends(server: FastAPI) -> None:
    database, door = server.state.studio._workspace.database, server.state.doorkeeper

    def ends_in(**time: float) -> None:
        with database.write() as session:
            session.execute(update(SessionRow).values(expires_at=now() + timedelta(**time)))
        door.forget_all()

    with visiting(server) as client:
        client.log_in("anna")
        ends_in(days=3)
        assert "Max-Age=1209600" in client.get("/who").headers["set-cookie"]
        assert rows(server)[0].expires_at > now() + timedelta(days=13)
        ends_in(seconds=-1)
        assert client.get("/who").status_code == 303


def test_a_removed_user_is_out(server: FastAPI) -> None:
    with visiting(server) as client:
        client.log_in("ben")
        assert client.get("/who").status_code == 200
        server.state.studio.members.remove("ben")
        server.state.doorkeeper.forget_all()
        assert client.get("/who").status_code == 303


# --- forms whose session has ended ------------------------------------------------------------------------------------


def test_a_half_filled_form_survives_the_end_of_its_session(server: FastAPI) -> None:
    with visiting(server) as client:
        client.log_in("anna")
        typed = {
            "csrf_token": csrf(client.get("/settings/tokens").text),
            "words": 'ä <b> "x" ' * 50,
            "password": "mine",
        }
        server.state.studio.members.close_sessions("anna")
        server.state.doorkeeper.forget_all()
        answer = client.post("/act", data=typed, headers={"Referer": f"{HOME}/create?x=1"})
        assert answer.status_code == 401
        assert server.state.done == []
        login = form(answer.text, "/login")
        assert login["next"] == "/create?x=1"
        wrong = client.post("/login", data=login | {"name": "anna", "password": "wrong password"})
        login = form(wrong.text, "/login")
        again = client.post("/login", data=login | {"name": "anna", "password": PASSWORDS["anna"]})
        assert again.status_code == 200
        fields = form(again.text, "/act")
        assert fields["words"] == typed["words"]
        assert "password" not in fields
        assert client.post("/act", data=fields).text == "done"
        assert server.state.done[0]["words"] == typed["words"]


def test_a_part_of_a_page_leads_to_the_login_and_back_to_the_page(server: FastAPI) -> None:
    with visiting(server) as client:
        headers = {"HX-Request": "true", "HX-Current-URL": f"{HOME}/subjects/rex"}
        for method in ("GET", "POST"):
            answer = client.request(method, "/act", headers=headers)
            assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/login?next=/subjects/rex")


def test_files_are_asked_for_again_after_the_login(server: FastAPI) -> None:
    with visiting(server) as client:
        answer = client.post("/act", files={"file": b"x"}, headers={"Referer": f"{HOME}/subjects/rex"})
        assert answer.status_code == 401
        assert "Files have to be chosen again" in answer.text
        assert form(answer.text, "/login")["next"] == "/subjects/rex"


# --- tokens -----------------------------------------------------------------------------------------------------------


def test_a_token_may_what_its_scopes_say_and_needs_no_form(server: FastAPI) -> None:
    studio = server.state.studio.owned_by("ben")
    reader = studio.members.add_token("reader", scopes=["read"])
    writer = studio.members.add_token("writer", scopes=["read", "write"])
    with visiting(server) as client:
        client.log_in("anna")  # whose cookies count for nothing beside a token

        def ask(method: str, made: Any) -> Any:
            return client.request(method, "/api/v1/who", headers={"Authorization": f"Bearer {made.secret}"})

        assert ask("GET", reader).text == "ben ben False read"
        assert ask("POST", reader).status_code == 403
        assert "scope 'write'" in ask("POST", reader).json()["detail"]
        assert ask("POST", writer).text == "ben ben False read write"
        assert studio.members.tokens()[0].last_used_at is not None
        studio.members.remove_token(reader.token.id)
        server.state.doorkeeper.forget_all()
        answer = ask("GET", reader)
        assert (answer.status_code, "invalid_token" in answer.headers["www-authenticate"]) == (401, True)


def test_the_secret_of_a_session_is_no_token(server: FastAPI) -> None:
    with visiting(server) as client:
        client.log_in("anna")
        assert client.get("/who").status_code == 200
        secret = client.cookies.get(server.state.doorkeeper.names.session)
        answer = client.get("/api/v1/who", headers={"Authorization": f"Bearer {secret}"})
        assert (answer.status_code, "invalid_token" in answer.headers["www-authenticate"]) == (401, True)
        made = server.state.studio.owned_by("anna").members.add_token("script", scopes=["read"])
        client.get("/api/v1/who", headers={"Authorization": f"Bearer {made.secret}"})
        client.cookies.set(server.state.doorkeeper.names.session, made.secret[-43:])
        assert client.get("/who").status_code == 303


@pytest.mark.parametrize("days", [None, 1, 3_650])
def test_what_a_token_makes_ends_with_it(server: FastAPI, days: int | None) -> None:
    made = server.state.studio.owned_by("ben").members.add_token("for a day", scopes=["read", "write"], days=1)
    forever = server.state.studio.owned_by("ben").members.add_token("for ever", scopes=["read", "write"])
    with visiting(server) as client:

        def ask(secret: str) -> Any:
            headers = {"Authorization": f"Bearer {secret}"}
            wanted = {"name": "more", "scopes": ["read", "write"], "days": days}
            return client.post("/api/v1/tokens", json=wanted, headers=headers).json()["token"]["expires_at"]

        assert datetime.fromisoformat(ask(made.secret)) == made.token.expires_at
        assert (ask(forever.secret) is None) == (days is None)


def test_admins_paths_are_closed_to_others(server: FastAPI) -> None:
    admins = server.state.studio.owned_by("anna").members.add_token("all", scopes=["read", "write", "admin"])
    writer = server.state.studio.owned_by("anna").members.add_token("some", scopes=["read", "write"])
    with visiting(server) as client:
        for secret, code in ((admins.secret, 200), (writer.secret, 403)):
            assert client.get("/settings/users", headers={"Authorization": f"Bearer {secret}"}).status_code == code
        client.log_in("ben")
        for path in ("/settings", "/settings/users", "/accounts", "/system"):
            assert client.get(path).status_code == 403, path
        assert client.get("/settings/tokens").status_code == 200


@pytest.mark.parametrize(("name", "settings"), [("anna", "/settings"), ("ben", "/settings/tokens")])
def test_what_every_page_links_to_is_open_to_who_sees_it(server: FastAPI, name: str, settings: str) -> None:
    with visiting(server) as client:
        client.log_in(name)
        for page in ("/jobs", "/settings/tokens"):
            links = set(re.findall(r'<a [^>]*href="(/[^"#]*)"', client.get(page).text))
            assert settings in links
            assert ("/system" in links) == (name == "anna")
            assert {link: client.get(link).status_code for link in links} == dict.fromkeys(links, 200)


def test_the_api_wants_the_forms_token_of_who_comes_with_a_cookie(server: FastAPI) -> None:
    with visiting(server) as client:
        client.log_in("anna")
        assert client.post("/api/v1/who").status_code == 403
        token = csrf(client.get("/settings/tokens").text)
        assert client.post("/api/v1/who", headers={"X-CSRF-Token": token}).status_code == 200


def test_a_token_is_shown_once(server: FastAPI) -> None:
    with visiting(server) as client:
        client.log_in("ben")
        page = client.get("/settings/tokens")
        assert 'value="admin"' not in page.text
        fields = form(page.text, "/settings/tokens") | {"name": "script", "scopes": ["read"], "days": "30"}
        made = client.post("/settings/tokens", data=fields)
        assert made.status_code == 201
        secret = made.text.split('id="new-token" readonly value="')[1].split('"')[0]
        assert client.get("/who", headers={"Authorization": f"Bearer {secret}"}).text == "ben ben False read"
        assert secret not in client.get("/settings/tokens").text
        assert client.post("/settings/tokens", data=fields | {"scopes": ["admin"]}).status_code == 403
        refused = client.post("/settings/tokens", data=fields | {"scopes": ["read"], "name": ""})
        assert refused.status_code == 422


def test_a_token_makes_none_that_may_more(server: FastAPI) -> None:
    writer = server.state.studio.owned_by("ben").members.add_token("writer", scopes=["read", "write"])
    with visiting(server) as client:
        answer = client.post(
            "/settings/tokens",
            data={"name": "more", "scopes": ["spend"]},
            headers={"Authorization": f"Bearer {writer.secret}"},
        )
        assert answer.status_code == 403
        assert client.post("/who", headers={"Authorization": f"Bearer {writer.secret}"}).status_code == 403
        assert len(server.state.studio.members.tokens()) == 1


# --- users ------------------------------------------------------------------------------------------------------------


def test_an_admin_manages_users(server: FastAPI) -> None:
    with visiting(server) as client, visiting(server) as carl:
        client.log_in("anna")
        fields = form(client.get("/settings/users").text, "/settings/users")
        short = client.post("/settings/users", data=fields | {"name": "carl", "password": "short"})
        assert (short.status_code, form(short.text, "/settings/users")["name"]) == (422, "carl")
        assert (
            client.post("/settings/users", data=fields | {"name": "carl", "password": "carls password"}).status_code
            == 303
        )
        page = {"name": "carl", "password": "carls password"}
        assert carl.post("/login", data=form(carl.get("/login").text, "/login") | page).status_code == 303
        assert carl.get("/who").text.startswith("carl")
        client.post("/settings/users/carl/password", data=fields | {"password": "another password"})
        assert carl.get("/who").status_code == 303
        client.post("/settings/users/carl/admin", data=fields)
        assert [user.admin for user in server.state.studio.members.users()] == [True, False, True]
        assert "only admin" not in client.post("/settings/users/anna/no-admin", data=fields, follow_redirects=True).text
    with visiting(server) as client:
        client.log_in("ben")
        fields = {"csrf_token": csrf(client.get("/settings/tokens").text)}
        assert client.post("/settings/users/anna/remove", data=fields).status_code == 403
        changed = fields | {"old": PASSWORDS["ben"], "password": "bens new password"}
        assert client.post("/settings/password", data=changed | {"old": "wrong password"}).status_code == 303
        assert server.state.studio.members.check_password("ben", PASSWORDS["ben"])
        assert client.post("/settings/password", data=changed).status_code == 303
        assert server.state.studio.members.check_password("ben", "bens new password")
        assert client.get("/who").status_code == 200


def test_users_see_only_what_is_theirs(server: FastAPI) -> None:
    server.state.studio.owned_by("anna").subjects.add("annas-dog", kind="pet")
    with visiting(server) as client:
        client.log_in("ben")
        assert "annas-dog" not in client.get("/").text
        assert client.get("/subjects/annas-dog").status_code == 404
    with visiting(server) as client:
        client.log_in("anna")
        assert client.get("/subjects/annas-dog").status_code == 200


# --- the rules of the server ------------------------------------------------------------------------------------------


def test_another_address_needs_a_user(studio: Studio) -> None:
    for host, login in (("0.0.0.0", False), ("192.168.1.5", False), ("127.0.0.1", True)):
        with pytest.raises(Conflict) as refused:
            rules_for(studio, Address(host, 8712, fixed=False), login=login)
        assert "limner users add NAME" in refused.value.remedy
    assert rules_for(studio, Address("127.0.0.1", 8712, fixed=False), login=False) == Rules(
        hosts=("127.0.0.1", "[::1]", "localhost")
    )


@pytest.mark.parametrize(
    ("hosts", "secure", "how"),
    [
        ("limner.example.org", True, "as limner.example.org"),
        ("limner.example.org", False, "as limner.example.org"),
        ("", True, "through a proxy"),
    ],
)
def test_behind_a_proxy_there_must_be_a_user(studio: Studio, hosts: str, secure: bool, how: str) -> None:
    studio.settings.hosts = hosts
    address = Address("127.0.0.1", 8712, fixed=False)
    with pytest.raises(Conflict, match=how) as refused:
        rules_for(studio, address, login=False, secure=secure)
    command = "limner serve --secure." if secure else "limner serve."
    assert refused.value.remedy == f"Add a user first: limner users add NAME; then: {command}"
    with pytest.raises(InputRefused, match=how):
        serve_studio(studio.settings, address, Rules(secure=secure), browser=False)


def test_a_server_that_runs_asks_for_a_login_as_soon_as_there_is_a_user(app: FastAPI, studio: Studio) -> None:
    door = app.state.doorkeeper
    with visiting(app) as client:
        assert client.get("/jobs").status_code == 200
        token = csrf(client.get("/jobs").text)
        studio.members.add("anna", PASSWORDS["anna"])
        door.forget_all()  # it looks again after two seconds by itself
        assert client.get("/jobs").headers["location"] == "/login?next=/jobs"
        assert client.get("/api/v1/jobs").status_code == 401
        assert client.post("/api/v1/subjects", json={"slug": "rex"}).status_code == 401
        assert client.post("/subjects", data={"csrf_token": token}).status_code == 401
        client.log_in("anna")
        assert client.get("/jobs").status_code == 200
        studio.members.remove("anna")
        door.forget_all()
        assert client.get("/jobs").status_code == 303, "a server that has asked once is not opened while it runs"


def test_the_first_user_can_be_added_through_the_api(app: FastAPI) -> None:
    with visiting(app) as client:
        made = client.post("/api/v1/users", json={"name": "anna", "password": PASSWORDS["anna"]})
        assert made.status_code == 201
        app.state.doorkeeper.forget_all()
        assert client.get("/api/v1/users").status_code == 401


def test_names_of_this_machine_alone_need_no_user(studio: Studio) -> None:
    studio.settings.hosts = "localhost, 127.0.0.2:8712, [::1]"
    studio.settings.public_url = "https://hooks.example.org"
    rules = rules_for(studio, Address("127.0.0.1", 8712, fixed=False), login=False)
    assert (rules.login, set(rules.hosts)) == (False, {"localhost", "127.0.0.1", "127.0.0.2", "[::1]"})


def test_what_is_told_of_a_server_behind_a_proxy(members: Any, studio: Studio) -> None:  # noqa: F811
    studio.settings.hosts = "limner.example.org"
    address = Address("127.0.0.1", 8712, fixed=False)
    told = "\n".join(_said(address, rules_for(studio, address, login=False, secure=True), as_json=False))
    assert "Everybody has to log in." in told
    assert "Other machines reach it through a proxy on this one, as limner.example.org." in told
    assert "Only this machine" not in told


def test_where_there_are_users_everybody_logs_in(members: Any, studio: Studio) -> None:  # noqa: F811
    studio.settings.hosts = "Limner.example.org, other:8443"
    studio.settings.public_url = "https://public.example.org:444/x"
    rules = rules_for(studio, Address("127.0.0.1", 8712, fixed=False), login=False)
    assert (rules.login, rules.addresses) == (True, False)
    assert {"limner.example.org", "other", "localhost"} <= set(rules.hosts)
    assert "public.example.org" not in rules.hosts, "it leads to the port for webhooks"
    rules = rules_for(studio, Address("::", 8712, fixed=False), login=False, secure=True)
    assert (rules.addresses, rules.secure) == (True, True)
