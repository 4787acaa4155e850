"""A home with one of everything, all Anna's, and to every route that names something a request that is right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from sqlalchemy import update

from limner.operations.webhooks.delivery import deliver_due
from limner.store.models import GenerationRow, IntentRow, JobRow, now
from limner.studio import Studio
from limner.types import Consent, JobState
from tests.operations.loras_made import TRAINING, add_training, draw
from tests.operations.photos_kept import keep
from tests.web.access_bench import PASSWORDS
from tests.web.pictures_made import add_generation

__all__ = ["HIDDEN", "OWNER", "Ask", "Everything", "Route", "every_route", "fill", "named_routes"]

OWNER = "anna"
HIDDEN = ("Whom Nobody Knows", "hidden_dog")
"""Name and trigger of what Anna has, by which every answer that tells of it can be known."""
SLUG = "annas"


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path of the app, with the names in the path and the body that the API's description shows."""

    method: str
    path: str
    names: tuple[str, ...]
    example: Any = None
    queries: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    """Names of what may stand behind the path, and of a form's fields, where the route declares them."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request as a client of the tests sends it."""

    method: str
    url: str
    options: Mapping[str, Any]


def every_route(app: FastAPI) -> list[Route]:
    """Every method of every path; HEAD where the app says it, not where Starlette adds it to a GET."""
    described = app.openapi()["paths"]

    def walk(given: Iterable[Any], prefix: str = "") -> Iterator[Route]:
        for route in given:
            if hasattr(route, "original_router"):
                yield from walk(route.original_router.routes, prefix + route.include_context.prefix)
                continue
            path = prefix + getattr(route, "path", "")
            names, queries = tuple(re.findall(r"\{(\w+)\}", path)), tuple(_declared(route, "query_params"))
            for method in sorted(getattr(route, "methods", None) or ()):
                if method == "HEAD" and not path.startswith("/api/v1/uploads/"):
                    continue
                body = described.get(path, {}).get(method.lower(), {}).get("requestBody", {}).get("content", {})
                example = body.get("application/json", {}).get("example")
                yield Route(method, path, names, example, queries, tuple(_declared(route, "body_params")))

    return sorted({str(one): one for one in walk(app.routes)}.values(), key=str)


def named_routes(app: FastAPI) -> list[Route]:
    """Every route of the app with something in its path that is looked up."""
    return [one for one in every_route(app) if one.names]


def _declared(route: Any, kind: str) -> Iterator[str]:
    """The names that a route and what it depends on take as query or body."""
    left = [route.dependant] if hasattr(route, "dependant") else []
    while left:
        one = left.pop()
        yield from (parameter.alias for parameter in getattr(one, kind))
        left.extend(one.dependencies)


@dataclass(frozen=True, slots=True)
class Everything:
    """``ids``: what is there, by the names of the paths; ``others``: what is there too, but not in the same place."""

    ids: Mapping[str, str]
    others: Mapping[str, str]
    there: Mapping[str, Any]

    def id_of(self, route: Route, name: str) -> str:
        """What is there for a name of the route. KeyError: a name that nobody has told this file of."""
        return self.ids.get(f"{route.path}#{name}") or self.ids[name]

    def ask(self, route: Route, **spoilt: str) -> Ask:
        """A request with all that the route wants, and with ``spoilt`` instead of what is there."""
        words = {name: spoilt.get(name, self.id_of(route, name)) for name in route.names}
        url = re.sub(r"\{(\w+)\}", lambda found: _quoted(words[found[1]]), route.path) + self._queries().get(
            route.path, ""
        )
        return Ask(route.method, url, self._body(route))

    def _queries(self) -> dict[str, str]:
        """What must stand behind a path."""
        return {
            "/api/v1/datasets/{dataset}/package": "?layout=kohya",
            "/api/v1/images/{image}/reproduction": f"?job={self.ids['job']}",
        }

    def _body(self, route: Route) -> dict[str, Any]:
        if route.path in ("/api/v1/uploads/{upload}",):
            tus = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
            return {"headers": tus} | ({"content": b"bytes"} if route.method == "PATCH" else {})
        if route.path == "/subjects/{slug}/drop":
            return {"files": {"photos": ("a.png", self.there["photo"], "image/png")}}
        if route.path.startswith("/api/"):
            return {} if route.example is None else {"json": self._bodies().get(route.path, route.example)}
        return {} if route.method == "GET" else {"data": {"wish": "0" * 32, **self._forms().get(route.path, {})}}

    def _bodies(self) -> dict[str, Any]:
        """The bodies whose examples name what is not in this home."""
        return {
            "/api/v1/grids/{grid}/votes": {"winner": self.there["left"], "loser": self.there["right"], "after": 0},
            "/api/v1/subjects/{subject}/captions": {"captions": {self.ids["photo"]: "{trigger} on a sofa"}},
            "/api/v1/uploads/batches/{batch}/commit": {"count": 1},
        }

    def _forms(self) -> dict[str, dict[str, Any]]:
        """What the forms of the pages hold, where it is more than a button."""
        vote = {"do": "left", "left": self.there["left"], "right": self.there["right"], "after": 0}
        return {
            "/accounts/{vendor}/connect": {"token": "a planted token"},
            "/costs/purchases/{tag}": {"decision": "drop"},
            "/generations/{generation}/decide": {"tag": self.ids["tag"], "decision": "drop"},
            "/grids/{grid}/vote": vote,
            "/loras/{name}/card": {"words": "Mine."},
            "/loras/{name}/publish": {"hub": "folder", "visibility": "private"},
            "/loras/{name}/unpublish": {"hub": "folder"},
            "/loras/{name}/visibility": {"hub": "folder", "visibility": "private"},
            "/loras/{name}/delete": {"unpublish": "yes"},
            "/subjects/{slug}/captions": {"find": "sofa", "replace": "bed"},
            "/subjects/{slug}/consent": {"given_by": "Anna"},
            "/subjects/{slug}/datasets": {"base": "limner-tiny"},
            "/subjects/{slug}/erase": {"typed": self.ids["slug"]},
            "/subjects/{slug}/photos/{digest}/caption": {"caption": "{trigger} on a sofa"},
            "/subjects/{slug}/photos/{digest}/crop": {"left": 0, "top": 0, "width": 200, "height": 200},
            "/subjects/{slug}/remove-photo": {"photo": self.there["third"]},
            "/subjects/{slug}/train": {"trainer": "local", "preset": "quick"},
            "/trainings/{training}/compare": {
                "checkpoint": ["10", "20"],
                "scales": "1",
                "prompts": "{trigger}",
                "seed": "1",
                "steps": "1",
                "width": "64",
                "height": "64",
                "guidance": "1",
            },
            "/trainings/{training}/pick": {"step": "10"},
        }


def _quoted(words: str) -> str:
    # A dot alone would be taken away by the client: it is sent as digits, and reaches the route as a dot.
    return quote(words, safe="").replace(".", "%2E")


def fill(studio: Studio, folder: Path) -> Everything:
    """Fill a home, in which Anna and Ben are admins. Nobody works there; what was published was published before."""
    for name, password in PASSWORDS.items():
        studio.members.add(name, password, admin=True)
    annas = studio.owned_by(OWNER)
    yes = Consent("Yes.", "Anna", None)
    annas.subjects.add(SLUG, name=HIDDEN[0], kind="pet", class_word="dog", trigger=HIDDEN[1], consent=yes)
    photos = [keep(annas, SLUG, number, 512, 512) for number in range(1, 9)]
    dataset = annas.datasets.freeze(SLUG, base="limner-tiny").digest
    add_training(annas, SLUG)
    stages = {"stages": [{"stage": "train"}]}
    with annas._workspace.database.write() as session:
        session.add(JobRow(id="job_trained", kind="train", subject=SLUG, target=TRAINING, request=stages, state="done"))
    lora = annas.trainings.pick(TRAINING, 20).name
    annas.publications.start(lora, hub="folder")
    studio.work(idle_seconds=0.0)
    annas.photos.set_captions(SLUG, {photos[0]: "a dog on a chair"})
    annas.captions.edit(SLUG, find="chair", replace="sofa")

    hook = annas.webhooks.add("http://127.0.0.1:9/hook", ["job.waiting"]).webhook.id
    job = annas.generate("a photo of {trigger}", loras=[lora], generator="local", seed=3)
    deliver_due(studio._workspace)
    (delivery, *_) = annas.webhooks.deliveries(hook)
    tag = f"{job.target}-0"
    with annas._workspace.database.write() as session:
        session.add(
            IntentRow(tag=tag, job=job.id, subject=SLUG, vendor="fal", what="picture", request={}, state="undecided")
        )
        error = {"code": "undecided", "message": "Nobody can tell.", "remedy": "", "thing": "", "status": 409}
        session.execute(
            update(JobRow).where(JobRow.id == job.id).values(state=JobState.FAILED, error=error, ended_at=now())
        )
        session.execute(
            update(GenerationRow).where(GenerationRow.id == job.target).values(state=JobState.FAILED, error=error)
        )
    image, *_ = add_generation(annas, "annas0001", count=2, subjects=[SLUG], loras=[lora], owner=OWNER)
    grid = annas.grids.start("{trigger}", x=("scale", [0.5, 1.0]), loras=[lora], generator="local", seed=1)
    draw(annas, grid)
    pair = annas.grids.next_pair(grid.id)
    assert pair is not None

    batch = annas.uploads.open(SLUG).id
    upload = annas.uploads.add(SLUG, batch, "a.png", 5).id
    second = annas.uploads.open(SLUG).id
    annas.uploads.add(SLUG, second, "b.png", 5)
    path = folder / "taken.png"
    path.write_bytes(annas.photos.get(SLUG, photos[1]).path.read_bytes())
    intake = annas.photos.add(SLUG, [path])
    token = annas.members.add_token("script", scopes=["read"]).token.id
    studio.members.add("cleo", "cleos long password")

    annas.subjects.add("gone", kind="pet", class_word="dog")
    annas.erasure.erase("gone")
    annas.subjects.add("rex", kind="pet", class_word="dog")
    elsewhere = keep(annas, "rex", 20, 512, 512)
    other_hook = annas.webhooks.add("http://127.0.0.1:9/other", ["job.waiting"]).webhook.id
    ids = {
        "slug": SLUG,
        "subject": SLUG,
        "digest": photos[0],
        "photo": photos[0],
        "dataset": dataset,
        "training": TRAINING,
        "step": "10",
        "position": "0",
        "lora": lora,
        "name": lora,
        "generation": job.target,
        "image": str(image),
        "number": str(image),
        "grid": grid.id,
        "job": job.id,
        "tag": tag,
        "batch": batch,
        "upload": upload,
        "webhook": hook,
        "delivery": str(delivery.id),
        "token": token,
        "user": "cleo",
        "vendor": "replicate",
        "base": "limner-tiny",
        "layout": "kohya",
        "/subjects/{slug}/erased#slug": "gone",
        "/subjects/{slug}/datasets/{digest}/package/{layout}#digest": dataset,
        "/subjects/{slug}/datasets/{digest}/sheet#digest": dataset,
        "/subjects/{slug}/intake/{job}#job": intake.id,
        "/subjects/{slug}/uploads/{batch}/take#batch": second,
        "/settings/users/{name}/{action}#name": "cleo",
        "/settings/users/{name}/{action}#action": "no-admin",
        "/settings/webhooks/{webhook}/{action}#action": "off",
    }
    others = {
        "slug": "rex",
        "subject": "rex",
        "digest": elsewhere,
        "photo": elsewhere,
        "job": annas.photos.add("rex", [path]).id,
        "webhook": other_hook,
    }
    there = {"photo": path.read_bytes(), "left": pair.left.id, "right": pair.right.id, "third": photos[2]}
    return Everything(ids, others, there)
