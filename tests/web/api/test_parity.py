"""Whatever the studio can do can be done by the API too, or it is said here why not."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from types import FunctionType

import pytest

import limner.web.api
from limner.client import Client
from limner.settings import Settings
from limner.studio import Studio
from limner.web.app import API

NOT_BY_THE_API = {
    "photos.add": "names files of this machine; others send theirs by /uploads",
    "runs.start": "takes photos by their paths on this machine; its steps are all there by themselves",
    "loras.adopt": "takes a file of this machine; fetch_lora is for all else",
    "loras.inspect": "reads a file of this machine; of a picture that is here /images/{image}/provenance tells",
    "generations.images": "the gallery's page, with more filters, is /images",
    "generations.image": "the gallery's detail is /images/{image}",
    "jobs.watch": "the stream /jobs/{job}/events",
    "jobs.watch_async": "the stream /jobs/{job}/events",
    "jobs.wait": "the client waits on that stream",
    "jobs.wait_async": "the client waits on that stream",
    "jobs.once": "the header Idempotency-Key",
    "answers": "the header Idempotency-Key",
    "jobs.changes": "what the event streams are made of",
    "close": "of the object itself",
    "loras.file": "a path on this machine; a program downloads /loras/{lora}/file",
    "generations.save_image": "a path on this machine; a program downloads /images/{image}/file",
    "jobs.wait_for_worker": "a worker is started where it works",
    "owned_by": "who asks is known by their token",
    "jobs.work": "a worker is started where it works",
    "settings": "what can be set is told by the doctor; see the page of settings",
    "gallery.window": "for a page that scrolls; programs take /images by cursor",
    "gallery.position": "for a page that scrolls",
    "gallery.ids": "for a page that scrolls; programs walk /images",
    "gallery.version": "for a page that keeps what it looked up; programs have ETags",
    "gallery.drawn_thumbnail": "how a thumbnail is drawn is the server's business",
    "gallery.widths": "an error names them",
    "members.check_password": "logging in is for browsers; programs have tokens",
    "members.open_session": "logging in is for browsers; programs have tokens",
    "members.session": "logging in is for browsers; programs have tokens",
    "members.close_session": "logging in is for browsers; programs have tokens",
    "members.token": "how a request is let in",
    "members.secret_for": "never leaves the server",
    "uploads.receive": "what a request to send bytes does",
    "uploads.arrive": "what a request that brings a small file does",
    "uploads.finish": "what sending the last byte does",
    "uploads.spool": "for forms of pages without scripts; programs say a file's size first",
    "uploads.keep": "for forms of pages without scripts; programs say a file's size first",
    "uploads.spool_lora": "for the form of the page of loras; programs name an address",
    "webhooks.delivering": "done by the server itself",
    "uploads.sweep": "done by itself",
    "jobs.go_on": "done by the server itself",
    "photos.set_caption": "a part of change_photo",
    "photos.set_crop": "a part of change_photo",
    "members.set_password": "a part of members.change",
    "members.set_admin": "a part of members.change",
}


BENEATH = {"settings", "jobs.once", "owned_by", "answers", "uploads.receive", "uploads.arrive"}
"""Of these, what routes are made of: they are used, and are no route of their own."""


def _text() -> str:
    folder = Path(limner.web.api.__file__).parent
    return "\n".join(path.read_text() for path in folder.glob("*.py"))


def _members(thing: object) -> Iterator[str]:
    for name, value in vars(type(thing)).items():
        if not name.startswith("_") and isinstance(value, FunctionType | property | cached_property | classmethod):
            yield name


def _verbs(studio: Studio) -> Iterator[tuple[str, str]]:
    """Every public method, with how it is written where it is used: a shortcut is another way to write one."""
    shortcuts = {}
    for name in _members(studio):
        if short := re.fullmatch(r"``(\w+\.\w+)``\.", inspect.getattr_static(studio, name).__doc__ or ""):
            shortcuts[short[1]] = name
    for name in _members(studio):
        value = inspect.getattr_static(studio, name)
        if isinstance(value, property):
            facet = getattr(studio, name)
            if type(facet).__module__.startswith("limner.operations"):
                if name in NOT_BY_THE_API:
                    continue
                for verb in _members(facet):
                    said = f"{name}.{verb}"
                    either = f"{said}|{shortcuts[said]}" if said in shortcuts else said
                    yield said, rf"studio\.(?:{either})\b"
                continue
        if name not in shortcuts.values():
            yield name, rf"studio\.{name}\b"


def test_every_method_of_the_studio_is_reached(tmp_path: Path) -> None:
    text = _text()
    with Studio(settings=Settings(home=tmp_path / "home", start_worker=False)) as studio:
        verbs = dict(_verbs(studio))
    missing = [name for name, used in verbs.items() if name not in NOT_BY_THE_API and not re.search(used, text)]
    assert not missing, f"no route of the API uses {', '.join(missing)}: add one, or say here why not"
    stale = [name for name in NOT_BY_THE_API if name in verbs and re.search(verbs[name], text)]
    assert set(stale) <= BENEATH, f"there is a route for {stale}"


@pytest.mark.parametrize("name", API)
def test_every_operation_is_in_the_client(name: str) -> None:
    folder = Path(limner.web.api.__file__).parent
    paths = re.findall(r'@router\.(?:get|post|put|patch|delete)\(\s*"([^"]+)"', (folder / f"{name}.py").read_text())
    client = "\n".join(path.read_text() for path in Path(inspect.getfile(Client)).parent.glob("*.py"))
    asked = {re.sub(r"\{[^}]+\}", "{}", path) for path in re.findall(r'f?"(/[a-z][^"]*)"', client)}
    missing = [path for path in paths if re.sub(r"\{[^}]+\}", "{}", path) not in asked and path not in SERVER_ONLY]
    prefixed = [
        path for path in missing if name != "uploads" or f"/uploads{re.sub(r'{[^}]+}', '{}', path)}" not in asked
    ]
    assert not prefixed, prefixed


SERVER_ONLY = {
    "/jobs/{job}/events",
    "/subjects/{subject}/photos/{photo}/crop",
    "/trainings/{training}/samples/{step}/{position}/thumbnail",
    "/subjects/{subject}/caption-edits/last",
}
"""Followed by ``jobs.follow``; or pictures for pages."""
