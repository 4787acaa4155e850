"""Tokens planted wherever tokens may be, and then looked for in everything that Limner writes, prints or sends."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import logging
import os
import sqlite3
import subprocess
import sys
import tarfile
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote, quote_plus

import keyring
import pytest

from limner.cli.main import run
from limner.errors import LimnerError
from limner.operations.publications import job as publication_job
from limner.stand_ins.rehearsal import ACCOUNT, TOKENS
from limner.stand_ins.serving import App
from limner.vendors.secrets import tokens as credentials
from limner.vendors.secrets.redaction import guard_logging
from tests.servers.faults import Message, Receive, Send
from tests.servers.quick_engine import quick_lora
from tests.servers.services_bench import SMALL, TINY, ServicesBench, open_bench
from tests.waiting import PATIENCE

PLANTED = {
    "replicate": "r8_planted+in/environment=4f1c9a7be2d0",
    "fal": "planted-fal-id:planted+in/dot-env=83ad5c17f0b6",
    "huggingface": "hf_planted+in/home-env=91e0d7a4c2b8",
    "together": "tgp_planted+in/keyring=6b2f8e05d9c3",
}
WRONG = "r8_planted+wrong/token=c7d2a9e4f8b1"
VARIABLES = {
    "replicate": "REPLICATE_API_TOKEN",
    "fal": "FAL_KEY",
    "huggingface": "HF_TOKEN",
    "together": "TOGETHER_API_KEY",
}

FILE_KEYRING = """
import json, os
from pathlib import Path
from keyring.backend import KeyringBackend

class FileKeyring(KeyringBackend):
    priority = 10
    def get_password(self, service, username):
        return json.loads(Path(os.environ["FILE_KEYRING"]).read_text()).get(username)
    def set_password(self, service, username, password):
        raise RuntimeError("this keyring is read only")
"""
CRASHING_WORKER = """
from limner.generation.metadata import provenance
from limner.settings import Settings
from limner.vendors.secrets.tokens import find_token

def crash(*given, **named):
    token = find_token("together", Settings()).reveal()
    raise RuntimeError(f"cannot seal with {token}") from ValueError({"authorization": f"Bearer {token}"})

provenance.seal_image = crash
from limner.operations.jobs.worker import main
main()
"""


class Parrot:
    """A vendor whose refusals repeat the token that they were sent, in every form; ``says`` is 0 while it is well."""

    says = 0

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers", ()))
        if not Parrot.says or b"authorization" not in headers:
            await self.app(scope, receive, send)
            return
        while (await receive()).get("more_body", False):
            pass
        sent = headers[b"authorization"].decode()
        token = sent.partition(" ")[2]
        echo = f"{sent} {quote(token, safe='')} {base64.b64encode(token.encode()).decode()}"
        if Parrot.says == 401:
            said = f"Invalid token {echo}"
            body, kind = json.dumps({"detail": said, "error": said, "title": said}).encode(), b"application/json"
        else:
            body, kind = f"<html><body><h1>Error</h1><pre>{echo}</pre></body></html>".encode(), b"text/html"
        named = [(b"content-type", kind), (b"x-error-message", echo.encode())]
        await send({"type": "http.response.start", "status": Parrot.says, "headers": named})
        await send({"type": "http.response.body", "body": body})


# --- looking for tokens -----------------------------------------------------------------------------------------------


def forms(token: str) -> set[bytes]:
    """How a token may be written."""
    found = {
        token,
        quote(token, safe=""),
        quote(token),
        quote_plus(token),
        json.dumps(token)[1:-1],
        token.encode().hex(),
    }
    found |= set(token.split(":")[1:])
    for before in range(3):
        coded = base64.b64encode(b"\0" * before + token.encode()).decode().rstrip("=")
        core = coded[(0, 2, 3)[before] : len(coded) - 1]
        found |= {core, core.replace("+", "-").replace("/", "_")}
    return {form.encode() for form in found}


class Artefacts:
    """Everything that was written, printed or sent, by a name that says where."""

    def __init__(self) -> None:
        self.known: dict[str, bytes] = {}

    def add(self, name: str, data: bytes | str) -> None:
        raw = data.encode() if isinstance(data, str) else bytes(data)
        self.known[name] = raw
        for inner, more in _unpacked(raw):
            self.known[f"{name} > {inner}"] = more

    def add_folder(self, folder: Path, besides: tuple[Path, ...] = ()) -> None:
        for path in folder.rglob("*"):
            if path.is_file() and path not in besides:
                self.add(str(path.relative_to(folder)), path.read_bytes())
            self.add(f"name of {path.name}", str(path.relative_to(folder)))

    def holding(self, tokens: Mapping[str, str]) -> list[tuple[str, str]]:
        """(token, artefact) wherever there is one."""
        wanted = {name: forms(token) for name, token in tokens.items()}
        return [
            (name, where)
            for where, data in self.known.items()
            for name, written in wanted.items()
            if any(form in data for form in written)
        ]


def _unpacked(raw: bytes) -> Iterator[tuple[str, bytes]]:
    """What is in an archive, and the compressed texts of a picture."""
    if raw[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            yield from ((name, archive.read(name)) for name in archive.namelist())
    elif raw[257:262] == b"ustar":
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            yield from ((one.name, tar.extractfile(one).read()) for one in tar if one.isfile())  # type: ignore[union-attr]
    elif raw[:8] == b"\x89PNG\r\n\x1a\n":
        for start in (at for at in range(len(raw) - 1) if raw[at : at + 2] in (b"\x78\x9c", b"\x78\xda")):
            with contextlib.suppress(zlib.error):
                yield f"zlib at {start}", zlib.decompressobj().decompress(raw[start:], 1_000_000)


# --- a home with planted tokens ---------------------------------------------------------------------------------------


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServicesBench]:
    """One token in the environment, one in .env here, one in the home folder's .env, one in the keyring."""
    monkeypatch.setattr(Parrot, "says", 0)
    between: Callable[[str, App], App] = lambda _, app: Parrot(app)  # noqa: E731
    with open_bench(tmp_path, monkeypatch, between=between) as bench:
        for name in TOKENS:
            monkeypatch.delenv(name)
        for vendor, token in PLANTED.items():
            getattr(bench.vendors, vendor).tokens = {token: ACCOUNT}
        for key, value in bench.settings.as_environment().items():
            monkeypatch.setenv(key, value)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
        monkeypatch.setenv(VARIABLES["replicate"], PLANTED["replicate"])
        here, ring = tmp_path / "here", tmp_path / "ring"
        here.mkdir()
        ring.mkdir()
        monkeypatch.chdir(here)
        (here / ".env").write_text(f"{VARIABLES['fal']}='{PLANTED['fal']}'\n")
        (bench.settings.home / ".env").write_text(f"{VARIABLES['huggingface']}='{PLANTED['huggingface']}'\n")
        (ring / "ring.json").write_text(json.dumps({"together": PLANTED["together"]}))
        (ring / "file_keyring.py").write_text(FILE_KEYRING)
        monkeypatch.setenv("FILE_KEYRING", str(ring / "ring.json"))
        monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "file_keyring.FileKeyring")
        monkeypatch.setenv("PYTHONPATH", str(ring))
        monkeypatch.syspath_prepend(str(ring))
        credentials._keyring_said.clear()
        before = keyring.get_keyring()
        from file_keyring import FileKeyring  # type: ignore[import-not-found]

        keyring.set_keyring(FileKeyring())
        yield bench
        keyring.set_keyring(before)
        credentials._keyring_said.clear()


@pytest.fixture
def log(planted: ServicesBench) -> Iterator[None]:
    """All that this process logs goes into the home's log, as a worker's does."""
    path = planted.settings.home / "logs" / "everything.log"
    path.parent.mkdir(exist_ok=True)
    root = logging.getLogger()
    handler = logging.FileHandler(path)
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    logging.getLogger("pyvips").setLevel(logging.INFO)  # it logs from within its own locks, and stands still
    guard_logging()
    yield
    root.removeHandler(handler)
    root.setLevel(level)
    handler.close()


class Told:
    """Runs commands and calls, and keeps all that they print and raise."""

    def __init__(self, artefacts: Artefacts) -> None:
        self.artefacts = artefacts
        self.number = 0

    def command(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.object(sys, "stdin", io.StringIO(stdin)),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = run(list(words))
        self.number += 1
        self.artefacts.add(f"{self.number} output of limner {' '.join(words)}", out.getvalue())
        self.artefacts.add(f"{self.number} errors of limner {' '.join(words)}", err.getvalue())
        return code, out.getvalue(), err.getvalue()

    def call(self, what: Callable[[], Any]) -> Any:
        """What the call gives, None where it raises; both are kept."""
        self.number += 1
        try:
            given = what()
        except LimnerError as failure:
            said = [repr(failure), str(failure), json.dumps(failure.as_problem(), default=str)]
            said += traceback.format_exception(failure)
            self.artefacts.add(f"{self.number} raised", "\n".join(said))
            return None
        self.artefacts.add(f"{self.number} given", repr(given))
        return given


def whole_run(bench: ServicesBench, told: Told) -> None:
    """Every vendor is used once, and well."""
    studio = bench.studio
    for trainer, slug in (("replicate", "zib"), ("fal", "zob")):
        bench.subject(slug, trigger=f"{slug}bo")
        job = told.call(
            lambda trainer=trainer, slug=slug: studio.run(
                slug,
                [bench.photos],
                ["a drawing of {trigger}"],
                train={"trainer": trainer, **TINY},
                publish={"hub": "huggingface", "visibility": "public"},
                generate={"generator": "together", **SMALL},
                yes=True,
            )
        )
        assert told.call(lambda job=job: bench.run(job)).error is None
    for generator in ("fal", "replicate", "huggingface"):
        job = told.call(lambda generator=generator: draw(bench, generator))
        assert told.call(lambda job=job: bench.run(job)).error is None


def draw(bench: ServicesBench, generator: str, **options: Any) -> Any:
    return bench.studio.generate(
        "a drawing of {trigger}", loras=["zib"], generator=generator, yes=True, **SMALL, **options
    )


def failing_runs(bench: ServicesBench, told: Told) -> None:
    """Every vendor is used, and repeats the token that it refuses."""
    studio = bench.studio
    jobs = [told.call(lambda t=t: studio.train("zib", trainer=t, yes=True, **TINY)) for t in ("replicate", "fal")]
    jobs += [
        told.call(lambda g=g: draw(bench, g)) for g in ("together", "fal", "replicate", "huggingface", "together,fal")
    ]
    jobs += [told.call(lambda: studio.publications.start("zob", hub="huggingface", repo="another"))]
    started = [job for job in jobs if job is not None]
    assert len(started) == 8
    for says in (401, 500):
        Parrot.says = says
        for job in started:
            ended = told.call(
                lambda job=job, again=says == 500: bench.run(studio.resume(job, yes=True) if again else job)
            )
            assert ended.error is not None
        told.call(lambda: studio.publications.status("zib"))
        told.call(lambda: studio.publications.hub_listing("huggingface"))
        told.call(lambda: studio.loras.adopt(f"{ACCOUNT}/zib-lora", subject="other"))
        told.call(lambda: draw(bench, "together", what_if=True))
        told.call(lambda: studio.trainings.start("zib", trainer="replicate", what_if=True, **TINY))
        for words in (("accounts", "--live"), ("doctor", "--live"), ("accounts", "--live", "--json"), ("hubs", "list")):
            told.command(*words)
        code, _, err = told.command("login", "replicate", "--token-from-stdin", stdin=WRONG)
        assert code != 0
        assert "Nothing was kept" in " ".join(err.split())
    Parrot.says = 0


def crashes(bench: ServicesBench, told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mistakes of ours, with a token at hand: in this process, in a worker's, and in a command's."""
    studio = bench.studio
    token = credentials.find_token("huggingface", bench.settings).reveal()

    def crash(*given: Any, **named: Any) -> None:
        raise RuntimeError(f"a mistake with {token} at hand")

    with monkeypatch.context() as broken:
        broken.setattr(publication_job, "model_card", crash)
        job = studio.publications.start("zib", hub="huggingface", repo="third")
        assert "RuntimeError" in told.call(lambda: bench.run(job)).error.message
        broken.setattr("limner.operations.payments.ledger.summary", crash)
        code, _, _ = told.command("costs")
        assert code == 1
    worker = bench.open(start_worker=False)
    del worker._workspace.__dict__["submitter"]
    job = worker.generate("a drawing of {trigger}", loras=["zib"], generator="together", yes=True, **SMALL)
    with worker._workspace.log_file.open("ab") as sink:
        subprocess.run(
            [sys.executable, "-c", CRASHING_WORKER],
            stdout=sink,
            stderr=sink,
            env={**os.environ, "LIMNER_WORKER_IDLE_SECONDS": "0.5"},
            timeout=PATIENCE,
            check=True,
        )
    assert "RuntimeError" in worker.jobs.get(job.id).error.message
    assert b"cannot seal with" in worker._workspace.log_file.read_bytes()
    worker.close()


def look_everywhere(bench: ServicesBench, told: Told) -> None:
    """Gather what was not gathered on the way."""
    artefacts, vendors = told.artefacts, bench.vendors
    for words in (
        ("jobs", "list"),
        ("trainings", "list"),
        ("costs",),
        ("costs", "open"),
        ("images", "list"),
        ("loras", "list"),
        ("accounts",),
        ("doctor",),
        ("routes",),
        ("backends",),
    ):
        told.command(*words)
        told.command(*words, "--json")
    for image in bench.studio.generations.images():
        artefacts.add(
            f"provenance of image {image.id}", json.dumps(bench.studio.loras.inspect(image.path), default=str)
        )
    artefacts.add_folder(bench.settings.home, besides=(bench.settings.home / ".env",))
    with contextlib.closing(sqlite3.connect(bench.settings.home / "limner.db")) as database:
        artefacts.add("rows", "\n".join(database.iterdump()))
    for name, data in vendors.huggingface.contents.items():
        artefacts.add(f"content of a repo {name}", data)
    for file in vendors.replicate.files.values():
        artefacts.add(f"upload at replicate {file.id}", file.data)
    for path, file in vendors.fal.files.stored.items():
        artefacts.add(f"upload at fal {path}", file.data)


def sent_to(bench: ServicesBench, vendor: str) -> Artefacts:
    """All that came to a vendor, but for the token where it belongs."""
    found = Artefacts()
    for number, one in enumerate(bench.heard[vendor].requests):
        found.add(f"{number} body of {one.method} {one.path}", bytes(one.body))
        headers = [(key, value) for key, value in one.headers if key != b"authorization"]
        found.add(f"{number} head of {one.method} {one.path}", repr((one.path, one.query, headers)))
        given = dict(one.headers).get(b"authorization", b"").decode()
        if given.partition(" ")[2] not in (PLANTED[vendor], WRONG):
            found.add(f"{number} authorization of {one.method} {one.path}", given)
    return found


def test_no_token_gets_anywhere(
    planted: ServicesBench, log: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    told = Told(Artefacts())
    whole_run(planted, told)
    failing_runs(planted, told)
    crashes(planted, told, monkeypatch)
    look_everywhere(planted, told)
    told.artefacts.add("what was logged", caplog.text)
    tokens = {**PLANTED, "wrong": WRONG}
    assert told.artefacts.holding(tokens) == []
    for vendor in PLANTED:
        assert planted.heard[vendor].requests
        assert sent_to(planted, vendor).holding(tokens) == []
    # that nothing was found is worth something only if there was much to look at, and if the search finds
    names = " ".join(told.artefacts.known)
    for word in ("limner.db", "limner.db-wal", "worker.log", "everything.log", "blobs", "content of a repo", "upload"):
        assert word in names, word
    assert any(" > " in name for name in told.artefacts.known)
    for form in ("[secret]", "Error", "RuntimeError"):
        assert any(form.encode() in data for data in told.artefacts.known.values())


@pytest.mark.parametrize("written", ["plain", "quoted", "base64", "zip", "png", "row", "body", "header"])
def test_the_search_finds_what_is_planted(planted: ServicesBench, written: str) -> None:
    bench, token = planted, PLANTED["huggingface"]
    home = bench.settings.home
    told = Told(Artefacts())
    if written in ("body", "header"):
        import httpx2

        headers = {"authorization": f"Bearer {token if written == 'header' else PLANTED['together']}"}
        body = {"model": "x", "prompt": quote(token) if written == "body" else "x"}
        httpx2.post(f"{bench.settings.together_url}/v1/images/generations", json=body, headers=headers)
        assert {name for name, _ in sent_to(bench, "together").holding(PLANTED)} == {"huggingface"}
        return
    if written == "zip":
        with zipfile.ZipFile(home / "photos.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("photo.txt", f"a photo {token}" * 9)
    elif written == "png":
        from PIL import Image, PngImagePlugin

        text = PngImagePlugin.PngInfo()
        text.add_text("parameters", f"a drawing {token}" * 9, zip=True)
        Image.new("RGB", (8, 8)).save(home / "picture.png", pnginfo=text)
    elif written == "row":
        name = bench.import_lora("ink", quick_lora("limner-tiny", 4, b"ink"))
        with contextlib.closing(sqlite3.connect(home / "limner.db")) as database:
            database.execute("UPDATE limner_loras SET trigger = ?", (token,))
            database.commit()
        assert name
    else:
        text = {
            "plain": token,
            "quoted": f"?token={quote(token, safe='')}",
            "base64": base64.b64encode(f"user:{token}".encode()).decode(),
        }
        (home / "some.log").write_text(text[written])
    told.artefacts.add_folder(home, besides=(home / ".env",))
    assert {name for name, _ in told.artefacts.holding(PLANTED)} == {"huggingface"}
