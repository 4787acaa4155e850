"""The answers of a hub in its own words: refusals, models and trees."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import JSONResponse

from limner.stand_ins.hub.repos import Commit, HubFile, HubRepo, lfs_pointer

__all__ = ["Refused", "describe_model", "describe_tree", "found", "moment", "refusal"]


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, answer: JSONResponse) -> None:
        super().__init__(answer.status_code)
        self.answer = answer


def refusal(status: int, message: str, *, code: str = "", **more: str) -> Refused:
    """An error as the Hub tells it: the words in the body and in X-Error-Message, the kind in X-Error-Code."""
    headers = {"x-error-message": message, **({"x-error-code": code} if code else {})}
    headers |= {key: value for key, value in more.items() if key.startswith("x-")}
    body = {"error": message} | {key: value for key, value in more.items() if not key.startswith("x-")}
    return Refused(JSONResponse(body, status, headers))


def found(repo: HubRepo, request: Request) -> Commit:
    """The commit that the path names."""
    commit = repo.find(unquote(request.path_params["revision"]))
    if commit is None:
        raise refusal(404, f"Invalid rev id: {request.path_params['revision']}", code="RevisionNotFound")
    return commit


def describe_model(repo: HubRepo, revision: str, *, blobs: bool = False) -> dict[str, Any]:
    """A repo at a revision, as GET /api/models/... tells it."""
    commit = repo.find(revision)
    if commit is None:
        raise refusal(404, f"Invalid rev id: {revision}", code="RevisionNotFound")
    card = repo.card(commit)
    base = card.get("base_model")
    tags = [*card.get("tags", []), *([f"license:{card['license']}"] if card.get("license") else [])]
    if base:
        tags += [f"base_model:{base}", f"base_model:{card.get('base_model_relation', 'adapter')}:{base}"]
    return {
        "_id": repo.id,
        "id": repo.id,
        "modelId": repo.id,
        "author": repo.owner,
        "sha": commit.sha,
        "lastModified": moment(commit.date),
        "createdAt": moment(repo.created_at),
        "private": repo.private,
        "gated": repo.gated,
        "disabled": repo.disabled,
        "downloads": 0,
        "likes": 0,
        "tags": tags,
        "pipeline_tag": card.get("pipeline_tag"),
        "library_name": card.get("library_name"),
        **({"cardData": card} if card else {}),
        "siblings": [_sibling(path, one, blobs) for path, one in sorted(commit.files.items())],
    }


def moment(date: datetime) -> str:
    """A time as the Hub writes it."""
    return date.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _sibling(path: str, one: HubFile, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    pointer = len(lfs_pointer(one.sha256, one.size))
    lfs = {"lfs": {"sha256": one.sha256, "size": one.size, "pointerSize": pointer}} if one.lfs else {}
    return {"rfilename": path, "size": one.size, "blobId": one.oid, **lfs}


def describe_tree(commit: Commit, folder: str, *, deep: bool) -> list[dict[str, Any]]:
    """The files and folders below a folder."""
    start = f"{folder.rstrip('/')}/" if folder else ""
    listed: dict[str, dict[str, Any]] = {}
    for path, one in sorted(commit.files.items()):
        if not path.startswith(start):
            continue
        rest = path.removeprefix(start).split("/")
        for depth in range(1, len(rest)):
            name = start + "/".join(rest[:depth])
            if deep or depth == 1:
                listed[name] = {"type": "directory", "oid": one.oid, "size": 0, "path": name}
        if deep or len(rest) == 1:
            pointer = len(lfs_pointer(one.sha256, one.size))
            lfs = {"lfs": {"oid": one.sha256, "size": one.size, "pointerSize": pointer}} if one.lfs else {}
            listed[path] = {"type": "file", "oid": one.oid, "size": one.size, "path": path, **lfs}
    if not listed and folder:
        raise refusal(404, f'{folder} does not exist on "main"', code="EntryNotFound")
    return list(listed.values())
