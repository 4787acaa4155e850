"""The MCP server as an assistant meets it: a real process on standard input and output, asked by the SDK's client."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from limner.errors import InputRefused
from limner.mcp.server import make_server
from limner.settings import Settings
from limner.store.models import JobRow
from limner.studio import Studio
from limner.types import JobState
from mcp import Client, StdioServerParameters
from tests import lora_rows
from tests.web import pictures_made

READERS = {
    "subjects",
    "subject",
    "photo_report",
    "loras",
    "job",
    "jobs",
    "images",
    "costs",
    "routes",
    "doctor",
    "wait_for_job",
}
WRITERS = {"add_subject", "add_photos", "train", "publish", "generate", "cancel_job", "resume_job", "erase_subject"}
PAYING = {"train", "generate", "resume_job"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", start_worker=False)


def spoken(settings: Settings, talk: Callable[[Client], Awaitable[None]]) -> None:
    """Talk to ``limner mcp`` of a home."""
    command = StdioServerParameters(
        command=sys.executable,
        args=["-m", "limner", "mcp"],
        env={**os.environ, "LIMNER_HOME": str(settings.home), "LIMNER_START_WORKER": "false"},
    )

    async def run() -> None:
        async with asyncio.timeout(40), Client(command) as client:
            await talk(client)

    asyncio.run(run())


def inside(studio: Studio, talk: Callable[[Client], Awaitable[None]], photos: Sequence[Path] = ()) -> None:
    """Talk to a server in this process."""

    async def run() -> None:
        async with asyncio.timeout(40), Client(make_server(studio, photos)) as client:
            await talk(client)

    asyncio.run(run())


def text_of(result: Any) -> str:
    return "\n".join(part.text for part in result.content if part.type == "text")


def test_a_process_offers_few_verbs_with_all_four_hints(settings: Settings) -> None:
    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == READERS | WRITERS
        for name, tool in tools.items():
            hints = tool.annotations
            assert hints is not None
            given = (hints.read_only_hint, hints.destructive_hint, hints.idempotent_hint, hints.open_world_hint)
            assert all(isinstance(one, bool) for one in given), name
            assert hints.read_only_hint is (name in READERS), name
            assert hints.destructive_hint is (name in ("cancel_job", "erase_subject")), name
            assert tool.description
        for name in PAYING:
            fields = tools[name].input_schema["properties"]
            assert "Same key for the same wish" in fields["key"]["description"]
            assert "max_cost" in fields
            assert fields["what_if"]["default"] is True
        added = await client.call_tool("add_subject", {"slug": "zibbo", "kind": "character"})
        assert added.structured_content["trigger"] == "zibbo"
        listed = await client.call_tool("subjects", {})
        assert [one["slug"] for one in listed.structured_content["subjects"]] == ["zibbo"]

    spoken(settings, talk)


def test_a_key_is_one_wish_over_processes(settings: Settings) -> None:
    made: list[str] = []

    async def talk(client: Client) -> None:
        for _ in range(2):
            wish = {"prompt": "a lighthouse", "what_if": False, "key": "wish-0001", "wait_seconds": 0}
            answer = await client.call_tool("generate", wish)
            assert not answer.is_error, text_of(answer)
            made.append(json.loads(text_of(answer))["job"])

    spoken(settings, talk)
    with Studio(settings=settings) as studio:
        inside(studio, talk)
        assert len(studio.jobs.all()) == 1
    assert len(made) == 4
    assert len(set(made)) == 1


def test_nothing_is_done_without_a_key_or_by_what_if(settings: Settings) -> None:
    with Studio(settings=settings) as studio:

        async def talk(client: Client) -> None:
            asked = await client.call_tool("generate", {"prompt": "a lighthouse"})
            said = json.loads(text_of(asked))
            assert said["done"] is False
            assert said["cost_usd"] == "0"
            refused = await client.call_tool("generate", {"prompt": "a lighthouse", "what_if": False})
            assert refused.is_error
            assert "same key for the same wish" in text_of(refused)

        inside(studio, talk)
        assert studio.jobs.all() == []


def test_what_costs_more_than_was_agreed_to_is_refused(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    from decimal import Decimal

    from limner.records import Job, WhatIf
    from limner.types import Estimate

    with Studio(settings=settings) as studio:
        real = studio.generations.start

        def generate(_: object, prompt: str, *, what_if: bool = False, **options: Any) -> Job | WhatIf:
            if what_if:
                return WhatIf((), Estimate(Decimal("0.25")))
            made: Job = real(prompt, **options)
            return made

        monkeypatch.setattr("limner.operations.generations.actions.Generations.start", generate)

        async def talk(client: Client) -> None:
            wish = {"prompt": "x", "what_if": False, "key": "wish-0002", "wait_seconds": 0}
            dear = await client.call_tool("generate", {**wish, "max_cost": 0.24})
            assert dear.is_error
            assert "$0.25" in text_of(dear)
            assert "[spending-refused]" in text_of(dear)
            assert studio.jobs.all() == []
            agreed = await client.call_tool("generate", {**wish, "max_cost": 0.25})
            assert not agreed.is_error

        inside(studio, talk)
        assert len(studio.jobs.all()) == 1


def test_a_key_belongs_to_one_wish(settings: Settings) -> None:
    with Studio(settings=settings) as studio:
        studio.subjects.add("zibbo", kind="character")
        lora_rows.add_lora(studio, "zibbo")

        async def talk(client: Client) -> None:
            wish = {"prompt": "x", "what_if": False, "key": "wish-0003", "generator": "local", "wait_seconds": 0}
            first = await client.call_tool("generate", wish)
            assert not first.is_error
            assert (await client.call_tool("generate", wish)).content == first.content
            for tool, said in (
                ("generate", {**wish, "prompt": "y"}),
                ("generate", {**wish, "count": 4}),
                ("publish", {"lora": "zibbo@v1", "key": "wish-0003", "wait_seconds": 0}),
            ):
                refused = await client.call_tool(tool, said)
                assert refused.is_error
                assert "This key was used for another request" in text_of(refused)
            for key in ("short", "with space!", ""):
                refused = await client.call_tool("generate", {**wish, "key": key})
                assert refused.is_error
                assert "key" in text_of(refused)
            published = await client.call_tool("publish", {"lora": "zibbo@v1", "key": "wish-0004", "wait_seconds": 0})
            assert published.structured_content["kind"] == "publish"

        inside(studio, talk)
        assert sorted(job.kind for job in studio.jobs.all()) == ["generate", "publish"]


def test_a_stopped_job_is_gone_on_with_once(settings: Settings) -> None:
    with Studio(settings=settings) as studio:
        stopped = studio.generate("x", generator="local")
        with studio._workspace.database.write() as session:
            session.get_one(JobRow, stopped.id).state = JobState.CANCELLED

        async def talk(client: Client) -> None:
            asked = await client.call_tool("resume_job", {"job": stopped.id})
            assert not asked.is_error
            assert len(studio.jobs.all()) == 1
            wish = {"job": stopped.id, "what_if": False, "key": "wish-0005"}
            first = await client.call_tool("resume_job", wish)
            assert not first.is_error, text_of(first)
            assert (await client.call_tool("resume_job", wish)).structured_content == first.structured_content

        inside(studio, talk)
        assert studio.jobs.get(stopped.id).resumed_as == studio.jobs.all()[0].id
        assert len(studio.jobs.all()) == 2


def test_errors_say_what_to_do_next(settings: Settings) -> None:
    with Studio(settings=settings) as studio:
        studio.subjects.add("zibbo", kind="character")

        async def talk(client: Client) -> None:
            missing = await client.call_tool("subject", {"slug": "rex"})
            assert missing.is_error
            assert "There is no subject 'rex'" in text_of(missing)
            assert "What to do:" in text_of(missing)
            wrong = await client.call_tool("generate", {"prompt": "x", "count": 999})
            assert wrong.is_error
            unwritten = await client.call_tool("train", {"slug": "zibbo"})
            assert unwritten.is_error
            assert "[photo-refused]" in text_of(unwritten)

        inside(studio, talk)


def test_erasing_wants_the_slug_typed_again(settings: Settings) -> None:
    with Studio(settings=settings) as studio:
        studio.subjects.add("zibbo", kind="character")

        async def talk(client: Client) -> None:
            refused = await client.call_tool("erase_subject", {"slug": "zibbo", "slug_again": "zibo"})
            assert refused.is_error
            assert len(studio.subjects.all()) == 1
            done = await client.call_tool("erase_subject", {"slug": "zibbo", "slug_again": "zibbo"})
            assert done.structured_content["subject"] == "zibbo"

        inside(studio, talk)
        assert studio.subjects.all() == []


def test_pictures_come_as_small_pictures(settings: Settings) -> None:
    with Studio(settings=settings) as studio:
        pictures_made.add_generation(studio, "generation_1", prompt="a lighthouse", count=2)

        async def talk(client: Client) -> None:
            found = await client.call_tool("images", {"text": "lighthouse"})
            shown = [part for part in found.content if part.type == "image"]
            assert len(shown) == 2
            for part in shown:
                assert part.mime_type == "image/webp"
                with Image.open(io.BytesIO(base64.b64decode(part.data))) as picture:
                    assert picture.width <= 640
            assert "a lighthouse" in text_of(found)
            none = await client.call_tool("images", {"text": "no such words"})
            assert "no pictures" in text_of(none)

        inside(studio, talk)


def test_a_lora_is_no_path_of_this_machine(settings: Settings, tmp_path: Path) -> None:
    secret = tmp_path / "secret.safetensors"
    secret.write_bytes(b"\0" * 64)

    async def talk(client: Client) -> None:
        answer = await client.call_tool("generate", {"prompt": "x", "loras": [str(secret)]})
        assert answer.is_error
        assert "file on this machine" not in text_of(answer)

    with Studio(settings=settings, from_here=False) as studio:
        inside(studio, talk)


def test_photos_go_in_and_are_reported(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with Studio(settings=settings) as studio:
        studio.subjects.add("zibbo", kind="character")

        async def talk(client: Client) -> None:
            added = await client.call_tool(
                "add_photos", {"slug": "zibbo", "paths": [str(tmp_path / "photos")], "wait_seconds": 0}
            )
            assert added.structured_content["state"] == "waiting"
            seen = await client.call_tool("job", {"job": added.structured_content["job"]})
            assert seen.structured_content["kind"] == "intake"
            stopped = await client.call_tool("cancel_job", {"job": added.structured_content["job"]})
            assert not stopped.is_error
            for name in ("costs", "routes", "doctor", "jobs", "loras"):
                answer = await client.call_tool(name, {})
                assert not answer.is_error, text_of(answer)

        inside(studio, talk, [tmp_path / "photos"])


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A machine with a folder for the assistant, others' beside it, and every way out of it."""
    photos, secret = tmp_path / "photos", tmp_path / "secret"
    for folder in (
        photos / "rex",
        photos / ".ssh",
        photos / "linked",
        photos / "captioned",
        secret,
        tmp_path / "photos2",
    ):
        folder.mkdir(parents=True)
    for path in (photos / "rex/a.png", secret / "passport.png", tmp_path / "photos2/b.png", photos / ".ssh/key.png"):
        Image.new("RGB", (600, 600), "red").save(path)
    (secret / "diary.txt").write_text("dear diary")
    (photos / "out").symlink_to(secret)
    (photos / "out.png").symlink_to(secret / "passport.png")
    (photos / "linked/inner").symlink_to(secret)
    Image.new("RGB", (600, 600), "blue").save(photos / "captioned/c.png")
    (photos / "captioned/c.txt").symlink_to(secret / "diary.txt")
    (photos / "ring").mkdir()
    (photos / "ring/again").symlink_to(photos / "ring")
    return tmp_path


OUTSIDE = (
    "/etc/passwd",
    "/",
    "",
    ".",
    "rex",
    "~",
    "~root",
    "{m}",
    "{m}/secret",
    "{m}/secret/passport.png",
    "{m}/secret/nothing-here.png",
    "{m}/photos2/b.png",
    "{m}/photos/../secret/passport.png",
    "{m}/photos/rex/../../secret",
    "{m}/photos/out",
    "{m}/photos/out/passport.png",
    "{m}/photos/out.png",
    "{m}/photos/.ssh",
    "{m}/photos/.ssh/key.png",
    "{m}/photos/linked",
    "{m}/photos/captioned",
    "{m}/photos/captioned/c.png",
    "{m}/photos/*/passport.png",
    "{m}/photos/**",
    "{m}/photos/[o]ut/*",
    "{m}/home",
    "{m}/photos/rex/a.png\0.txt",
    "file://{m}/secret/passport.png",
    "/proc/self/root{m}/secret/passport.png",
    "/dev/stdin",
    "{m}/photos/" + "x" * 5_000,
    "{m}/photos",
)


def test_of_this_machine_nothing_is_read_but_what_the_user_named(settings: Settings, machine: Path) -> None:
    async def refused(client: Client) -> None:
        told = {}
        for path in (one.replace("{m}", str(machine)) for one in OUTSIDE):
            answer = await client.call_tool("add_photos", {"slug": "rex", "paths": [path], "wait_seconds": 0})
            assert answer.is_error, path
            assert "What to do:" in text_of(answer), path
            told[path] = text_of(answer).replace(path, "")
        there, absent = (str(machine / "secret" / name) for name in ("passport.png", "nothing-here.png"))
        assert told[there] == told[absent], "the answer tells whether a file is there"

    async def taken(client: Client) -> None:
        for path in (machine / "photos/rex", machine / "photos/rex/a.png", machine / "photos/ring"):
            answer = await client.call_tool("add_photos", {"slug": "rex", "paths": [str(path)], "wait_seconds": 0})
            assert not answer.is_error, text_of(answer)

    async def nothing(client: Client) -> None:
        answer = await client.call_tool("add_photos", {"slug": "rex", "paths": [str(machine / "photos/rex")]})
        assert answer.is_error and "limner mcp --photos" in text_of(answer)

    with Studio(settings=settings) as studio:
        studio.subjects.add("rex", kind="character")
        inside(studio, refused, [machine / "photos"])
        inside(studio, nothing)
        assert studio.jobs.all() == []
        inside(studio, taken, [machine / "photos"])
        assert len(studio.jobs.all()) == 3


def test_the_home_is_read_by_no_assistant_though_it_lies_in_a_folder_that_may_be(settings: Settings) -> None:
    async def talk(client: Client) -> None:
        for path in (settings.home, settings.home.parent, settings.home / "blobs"):
            answer = await client.call_tool("add_photos", {"slug": "rex", "paths": [str(path)], "wait_seconds": 0})
            assert answer.is_error, path

    with Studio(settings=settings) as studio:
        studio.subjects.add("rex", kind="character")
        inside(studio, talk, [settings.home.parent])
        assert studio.jobs.all() == []


def test_a_folder_that_is_not_there_is_named_before_anything_is_served(settings: Settings, tmp_path: Path) -> None:
    with Studio(settings=settings) as studio, pytest.raises(InputRefused, match="no folder"):
        make_server(studio, [tmp_path / "nowhere"])
