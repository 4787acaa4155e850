"""The guard: hosts, foreign pages, forms' tokens, sizes and headers, where nobody has to log in."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from fastapi.testclient import TestClient
from starlette.datastructures import Headers
from starlette.routing import Route
from starlette.types import Message

from limner.errors import AccessRefused, InputRefused, TooManyTries
from limner.http_server.bodies import LimitedBody
from limner.settings import Settings
from limner.web.access import Rules, require
from limner.web.access.cookies import CookieNames, read_cookies
from limner.web.access.headers import CONTENT_SECURITY_POLICY
from limner.web.access.origins import refuse_foreign_host, refuse_foreign_page
from limner.web.access.paths import scopes_needed
from limner.web.access.refusing import local_path
from limner.web.access.throttle import Throttle, client_address
from limner.web.app import create_app

from .access_bench import HOME, csrf, form, visiting


@pytest.fixture
def open_app(one_app: FastAPI) -> FastAPI:
    one_app.state.done = []
    return one_app


@pytest.fixture(scope="module")
def one_app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    """An app in which everything that is let in leaves a trace."""
    home = tmp_path_factory.mktemp("home")
    app = create_app(Settings(home=home, start_worker=False, max_request_bytes=10_000))

    async def act(request: Request) -> Response:
        body = await request.body()
        app.state.done.append((request.method, len(body)))
        return PlainTextResponse(body)

    async def fail(request: Request) -> Response:
        raise RuntimeError("a mistake")

    app.router.add_route("/act", act, methods=["GET", "POST"])
    app.router.add_route("/api/v1/act", act, methods=["GET", "POST"])
    app.router.add_route("/fail", fail)
    for path in ("/loras/import", "/subjects/{slug}/drop", "/api/v1/uploads", "/api/v1/uploads/{upload}"):
        app.router.routes.insert(0, Route(path, act, methods=["POST", "PATCH"]))
    return app


# --- hosts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8712", "127.0.0.1:99", "[::1]", "[::1]:8712"])
def test_own_names_are_answered_at_any_port(open_app: FastAPI, host: str) -> None:
    with TestClient(open_app, base_url=HOME) as client:
        assert client.get("/act", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8712",
        "localhost.evil.example",
        "127.0.0.1.nip.io",
        "127.0.0.2",
        "10.0.0.1",
        "localhost@x",
    ],
)
def test_a_foreign_name_is_misdirected(open_app: FastAPI, host: str) -> None:
    with TestClient(open_app, base_url=HOME) as client:
        for path in ("/act", "/api/v1/act", "/login", "/static/icon.svg"):
            assert client.get(path, headers={"Host": host}).status_code == 421
        assert client.get("/api/v1/act", headers={"Host": host}).json()["status"] == 421
        assert open_app.state.done == []


def test_no_host_or_two_are_refused() -> None:
    for raw in ([], [(b"host", b"localhost"), (b"host", b"evil.example")], [(b"host", b"")]):
        with pytest.raises(InputRefused):
            refuse_foreign_host(Headers(raw=raw), Rules())


def test_addresses_in_digits_are_names_where_the_server_listens_on_all() -> None:
    rules = Rules(addresses=True)
    refuse_foreign_host(Headers({"host": "192.168.1.5:8712"}), rules)
    refuse_foreign_host(Headers({"host": "[fe80::1]:8712"}), rules)
    with pytest.raises(AccessRefused):
        refuse_foreign_host(Headers({"host": "evil.example"}), rules)


# --- foreign pages ----------------------------------------------------------------------------------------------------

FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://localhost:9999"},
    {"Origin": "http://localhost.evil.example"},
    {"Origin": "nonsense"},
    {"Origin": "http://[x"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
@pytest.mark.parametrize("path", ["/act", "/api/v1/act"])
def test_a_foreign_page_can_do_nothing(open_app: FastAPI, headers: dict[str, str], path: str) -> None:
    with TestClient(open_app, base_url=HOME) as client:
        token = csrf(client.get("/login?next=/nowhere", follow_redirects=True).text)
        for method in ("GET", "POST"):
            answer = client.request(method, path, headers=headers | {"X-CSRF-Token": token})
            assert answer.status_code == 403
        assert open_app.state.done == []


def test_a_link_from_a_foreign_page_leads_here() -> None:
    link = {
        "host": "localhost",
        "sec-fetch-site": "cross-site",
        "sec-fetch-mode": "navigate",
        "sec-fetch-dest": "document",
    }
    refuse_foreign_page("GET", Headers(link), "http", api=False)
    for method, api, more in (
        ("POST", False, {}),
        ("GET", True, {}),
        ("GET", False, {"sec-fetch-dest": "iframe"}),
        ("GET", False, {"sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}),
    ):
        with pytest.raises(AccessRefused):
            refuse_foreign_page(method, Headers(link | more), "http", api=api)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost", "localhost"),
        ("http://localhost:80", "localhost"),
        ("http://localhost:8712", "localhost:8712"),
        ("https://limner.example.org", "limner.example.org"),
        ("http://[::1]:8712", "[::1]:8712"),
    ],
)
def test_pages_of_ours_are_known(origin: str, host: str) -> None:
    refuse_foreign_page("POST", Headers({"origin": origin, "host": host}), "http", api=False)


def test_programs_on_this_machine_need_no_token(open_app: FastAPI) -> None:
    with TestClient(open_app, base_url=HOME) as client:
        assert client.post("/api/v1/act", json={}).status_code == 200
        assert (
            client.post("/api/v1/act", json={}, headers={"Sec-Fetch-Site": "same-origin", "Origin": HOME}).status_code
            == 200
        )
        assert client.post("/api/v1/act", json={}, headers={"Authorization": "Bearer lim_wrong"}).status_code == 401


# --- forms' tokens ----------------------------------------------------------------------------------------------------


@pytest.fixture
def page_token(open_app: FastAPI):  # type: ignore[no-untyped-def]
    with visiting(open_app) as client:
        html = client.get("/nowhere").text
        yield client, csrf(html)


def test_a_form_with_its_token_is_taken_and_its_body_is_whole(open_app: FastAPI, page_token) -> None:  # type: ignore[no-untyped-def]
    client, token = page_token
    answer = client.post("/act", data={"csrf_token": token, "words": "ä & ü"})
    assert answer.status_code == 200
    assert "words=%C3%A4+%26+%C3%BC" in answer.text
    assert client.post("/act", content=b"x", headers={"X-CSRF-Token": token}).status_code == 200
    assert client.post(f"/act?csrf_token={token}", files={"file": b"x" * 5_000}).status_code == 200


@pytest.mark.parametrize("token", ["", "wrong", "ä", None])
def test_a_form_without_its_token_does_nothing_and_can_be_sent_again(open_app: FastAPI, page_token, token) -> None:  # type: ignore[no-untyped-def]
    client, right = page_token
    fields = {"words": '<script>"ä"</script>', "password": "mine"} | ({} if token is None else {"csrf_token": token})
    answer = client.post("/act", data=fields)
    assert answer.status_code == 403
    assert open_app.state.done == []
    again = form(answer.text, "/act")
    assert again == {"csrf_token": right, "words": '<script>"ä"</script>'}
    assert '<script>"' not in answer.text
    assert client.post("/act", data=again).status_code == 200


def test_the_token_of_another_browser_is_none(open_app: FastAPI, page_token) -> None:  # type: ignore[no-untyped-def]
    _, token = page_token
    with visiting(open_app) as other:
        other.get("/nowhere")
        assert other.post("/act", content=b"x", headers={"X-CSRF-Token": token}).status_code == 403
        assert other.post("/act", files={"file": b"x"}).status_code == 403
        assert other.post("/act", json={"csrf_token": token}).status_code == 403
    assert open_app.state.done == []


def test_the_guests_cookie_is_given_once_and_closed_to_scripts(open_app: FastAPI) -> None:
    with visiting(open_app) as client:
        said = client.get("/nowhere").headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(said.split("; "))
        assert "set-cookie" not in client.get("/nowhere").headers
        assert "set-cookie" not in client.get("/api/v1/act").headers


def test_cookies_of_https_carry_its_prefix(home_settings: Settings) -> None:
    app = create_app(home_settings, rules=Rules(secure=True))
    with visiting(app) as client:
        answer = client.get("/nowhere")
        assert answer.headers["set-cookie"].startswith("__Host-limner_guest_")
        assert "Secure" in answer.headers["set-cookie"].split("; ")
        assert "strict-transport-security" in answer.headers


def test_only_what_can_be_a_cookie_of_ours_is_read() -> None:
    names = CookieNames.of("aa", secure=False)
    good = "x" * 43
    assert read_cookies(Headers({"cookie": f"{names.guest}={good}; {names.session}=short"}), names) == (good, "")
    assert read_cookies(Headers({"cookie": f"{names.guest}={good}<;;==; x"}), names) == ("", "")


# --- sizes ------------------------------------------------------------------------------------------------------------


def chunks(count: int) -> object:
    for _ in range(count):
        yield b"x" * 1000


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/json"])
def test_a_body_that_is_too_large_is_refused_whether_it_says_so_or_not(open_app: FastAPI, kind: str) -> None:
    with TestClient(open_app, base_url=HOME) as client:
        for body in (b"x" * 10_001, chunks(11)):
            answer = client.post("/api/v1/act", content=body, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["status"]) == (413, 413)
        assert client.post("/api/v1/act", content=b"x" * 9_999, headers={"Content-Type": kind}).status_code == 200
        assert client.post("/api/v1/act", content=b"", headers={"Content-Length": "-1"}).status_code == 413


FORM, TUS = "multipart/form-data; boundary=x", "application/offset+octet-stream"


@pytest.mark.parametrize(
    ("method", "path", "kind", "status"),
    [
        ("POST", "/loras/import", FORM, 200),
        ("POST", "/subjects/zibbo/drop", FORM, 200),
        ("POST", "/api/v1/uploads", TUS, 200),
        ("PATCH", "/api/v1/uploads/upload_1", TUS, 200),
        ("POST", "/act", FORM, 413),
        ("POST", "/login", FORM, 413),
        ("POST", "/loras/import", TUS, 413),
        ("POST", "/api/v1/act", FORM, 413),
        ("POST", "/api/v1/act", TUS, 413),
        ("POST", "/api/v1/uploads", FORM, 413),
        ("POST", "/api/v1/uploads/known", TUS, 413),
    ],
)
def test_only_where_files_are_taken_bodies_have_their_limit(  # type: ignore[no-untyped-def]
    open_app: FastAPI, page_token, method: str, path: str, kind: str, status: int
) -> None:
    client, token = page_token
    for body in (b"x" * 200_000, chunks(200)):
        headers = {"Content-Type": kind, "X-CSRF-Token": token}
        answer = client.request(method, path, content=body, headers=headers)
        assert answer.status_code == status
    assert len(open_app.state.done) == (2 if status == 200 else 0)


class DrivenClock(asyncio.SelectorEventLoop):
    """An event loop whose time is what the test says."""

    moment = 0.0

    def time(self) -> float:
        return self.moment


@pytest.mark.parametrize(("piece", "stalled"), [(b"x", True), (b"x" * 20_000, False)])
def test_a_body_that_only_drips_is_broken_off(piece: bytes, stalled: bool) -> None:
    sent: list[Message] = []

    async def drip() -> Message:
        asyncio.get_running_loop().moment += 25  # type: ignore[attr-defined]
        for _ in range(2):
            await asyncio.sleep(0)
        sent.append({"type": "http.request", "body": piece, "more_body": len(sent) < 7})
        return sent[-1]

    async def read() -> tuple[bool, str]:
        body = LimitedBody(drip, 10**6)
        while (message := await body()).get("more_body"):
            pass
        return body.stalled, message["type"]

    with asyncio.Runner(loop_factory=DrivenClock) as runner:
        assert runner.run(read()) == (stalled, "http.disconnect" if stalled else "http.request")
    assert len(sent) == (2 if stalled else 8)


# --- headers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/act", "/nowhere", "/api/v1/nowhere", "/static/icon.svg", "/fail", "/login"])
def test_every_answer_has_the_headers(open_app: FastAPI, path: str) -> None:
    with TestClient(open_app, base_url=HOME, raise_server_exceptions=False) as client:
        headers = client.get(path, follow_redirects=False).headers
    assert headers["content-security-policy"] == CONTENT_SECURITY_POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "same-origin"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "permissions-policy" in headers


def test_a_mistake_of_the_guard_is_answered_with_them_too(open_app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*given: object, **options: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(open_app.state.doorkeeper, "caller", fail)
    with TestClient(open_app, base_url=HOME, raise_server_exceptions=False) as client:
        answer = client.get("/act")
    assert answer.status_code == 500
    assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


def test_the_policy_allows_no_inline_code_and_no_other_place() -> None:
    for word in ("unsafe-inline", "unsafe-eval", "http:", "https:", "*"):
        assert word not in CONTENT_SECURITY_POLICY


# --- small parts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "path"),
    [
        ("/gallery?page=2", "/gallery?page=2"),
        ("http://localhost/jobs", "/jobs"),
        ("//evil.example/x", "/x"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/\\evil.example", "/"),
        ("http://localhost//evil.example", "/"),
        ("/login?next=/x", "/"),
        ("", "/"),
        ("http://[", "/"),
    ],
)
def test_after_the_login_one_goes_to_a_page_of_ours(address: str, path: str) -> None:
    assert local_path(address) == path


@pytest.mark.parametrize(
    ("method", "path", "scopes"),
    [
        ("GET", "/gallery", ("read",)),
        ("POST", "/api/v1/subjects", ("write",)),
        ("GET", "/settings", ("read", "admin")),
        ("POST", "/settings/users", ("write", "admin")),
        ("POST", "/settings/tokens", ("write",)),
        ("GET", "/settings/tokens/x", ("read",)),
        ("GET", "/settingsx", ("read",)),
        ("GET", "/api/v1/accounts", ("read", "admin")),
        ("POST", "/login", ()),
    ],
)
def test_the_scopes_of_paths(method: str, path: str, scopes: tuple[str, ...]) -> None:
    assert scopes_needed(method, path) == scopes


def test_waits_between_tries_grow_and_are_forgotten() -> None:
    at = [0.0]
    throttle = Throttle(clock=lambda: at[0])
    for _ in range(5):
        throttle.begin("anna", "10.0.0.1")
    waits = []
    for _ in range(9):
        with pytest.raises(TooManyTries) as refused:
            throttle.begin("anna", "10.0.0.1")
        waits.append(int(refused.value.thing))
        at[0] += waits[-1]
        throttle.begin("anna", "10.0.0.1")
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    with pytest.raises(TooManyTries):
        throttle.begin("ben", "10.0.0.1")
    at[0] += 60
    throttle.begin("anna", "10.9.9.9")  # a stranger keeps her out for a minute at most
    throttle.good("anna", "10.9.9.9")
    throttle.begin("anna", "10.9.9.9")
    at[0] += 4_000
    for _ in range(5):
        throttle.begin("anna", "10.0.0.1")


def test_mistakes_of_long_ago_are_forgotten_though_one_logged_in_since() -> None:
    at = [0.0]
    throttle = Throttle(clock=lambda: at[0])
    for number in range(4):
        throttle.begin(f"typo{number}", "10.0.0.1")
    for _ in range(10):
        at[0] += 600
        throttle.begin("anna", "10.0.0.1")
        throttle.good("anna", "10.0.0.1")
    for number in range(5):
        throttle.begin(f"later{number}", "10.0.0.1")
    with pytest.raises(TooManyTries):
        throttle.begin("later", "10.0.0.1")


def test_addresses_of_ipv4_are_apart_where_both_kinds_are_listened_for() -> None:
    throttle = Throttle(clock=lambda: 0.0)
    for number in range(5):
        throttle.begin(f"name{number}", "::ffff:10.0.0.1")
    throttle.begin("other", "::ffff:10.0.0.2")
    with pytest.raises(TooManyTries):
        throttle.begin("other", "10.0.0.1")


@pytest.mark.parametrize(
    ("peer", "said", "secure", "client"),
    [
        ("127.0.0.1", ["203.0.113.9"], True, "203.0.113.9"),
        ("::1", ["1.1.1.1, 2.2.2.2", "203.0.113.9"], True, "203.0.113.9"),
        ("::ffff:127.0.0.1", ["2001:db8::1"], True, "2001:db8::1"),
        ("127.0.0.1", ["203.0.113.9, nonsense"], True, "127.0.0.1"),
        ("127.0.0.1", [], True, "127.0.0.1"),
        ("127.0.0.1", ["203.0.113.9"], False, "127.0.0.1"),
        ("10.0.0.1", ["203.0.113.9"], True, "10.0.0.1"),
    ],
)
def test_only_the_proxy_on_this_machine_is_believed(peer: str, said: list[str], secure: bool, client: str) -> None:
    headers = [(b"x-forwarded-for", words.encode()) for words in said]
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert client_address(request, Rules(secure=secure)) == client


def test_a_household_of_ipv6_is_one_address() -> None:
    throttle = Throttle(clock=lambda: 0.0)
    for number in range(5):
        throttle.begin(f"name{number}", f"2001:db8:1:2::{number}")
    with pytest.raises(TooManyTries):
        throttle.begin("other", "2001:db8:1:2:ffff::9")
    throttle.begin("other", "2001:db8:1:3::1")


def test_a_route_can_ask_for_more(open_app: FastAPI) -> None:
    from limner.web.access.identity import Visitor

    request = Request({"type": "http", "state": {"visitor": Visitor(user="a", owner="a", scopes=frozenset({"read"}))}})
    with pytest.raises(AccessRefused, match="spend"):
        require("spend")(request)
    assert require("read")(request).user == "a"
