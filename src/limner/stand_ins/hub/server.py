"""A stand-in for the Hugging Face Hub: its protocol as huggingface_hub speaks it with Xet switched off.

Repos have true commits, branches, tags and large files; tokens have an account and a role; private repos are hidden.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from limner.stand_ins.engine import Engine
from limner.stand_ins.hub.answers import Refused, describe_model, describe_tree, found, moment, refusal
from limner.stand_ins.hub.large_files import LargeFiles
from limner.stand_ins.hub.repos import GIT_ATTRIBUTES, HubFile, HubRepo, card_of
from limner.stand_ins.hub.router import Router
from limner.stand_ins.hub.state import HubState

__all__ = ["HuggingFaceStandIn"]

REPO = "/{owner}/{name}"
API = "/api/models/{owner}/{name}"


class HuggingFaceStandIn(HubState):
    """``app`` is the server. ``repos`` are by lower-case name, ``contents`` by SHA-256, ``paid`` what a vendor charges.

    To make faults: ``ignore_private`` makes every repo public, ``quota`` is the bytes that an account's private repos
    may hold, ``read_only`` are tokens that may not write, ``revoked`` tokens that are none any more, ``before_commit``
    is called before each commit is taken.
    """

    def __init__(self, engine: Engine, *, tokens: Mapping[str, str] | None = None) -> None:
        super().__init__(engine, tokens=tokens)
        self.large_files = LargeFiles(self)
        self.router = Router(self)
        self.app = Starlette(routes=self._routes())

    def _routes(self) -> list[Route]:
        def route(path: str, handler: Any, *methods: str) -> Route:
            return Route(path, guarded(handler), methods=list(methods))

        return [
            route("/api/whoami-v2", self._whoami, "GET"),
            route("/api/repos/create", self._create, "POST"),
            route("/api/repos/delete", self._delete, "DELETE"),
            route("/api/validate-yaml", self._validate_yaml, "POST"),
            route("/api/models", self._list, "GET"),
            route(API, self._info, "GET"),
            route(f"{API}/revision/{{revision}}", self._info, "GET"),
            route(f"{API}/refs", self._refs, "GET"),
            route(f"{API}/tree/{{revision}}", self._tree, "GET"),
            route(f"{API}/tree/{{revision}}/{{path:path}}", self._tree, "GET"),
            route(f"{API}/paths-info/{{revision}}", self._paths_info, "POST"),
            route(f"{API}/preupload/{{revision}}", self._preupload, "POST"),
            route(f"{API}/commit/{{revision}}", self._commit, "POST"),
            route(f"{API}/commits/{{revision}}", self._commits, "GET"),
            route(f"{API}/tag/{{revision}}", self._tag, "POST", "DELETE"),
            route(f"{API}/branch/{{branch}}", self._branch, "POST", "DELETE"),
            route(f"{API}/settings", self._settings, "PUT"),
            *self.large_files.routes(route),
            *self.router.routes(route),
            route(f"{REPO}/resolve/{{revision}}/{{path:path}}", self._resolve, "GET", "HEAD"),
            route(f"{REPO}/blob/{{revision}}/{{path:path}}", self._page, "GET"),
            route(REPO, self._page, "GET", "HEAD"),
        ]

    async def _whoami(self, request: Request) -> Response:
        account = self.account(request)
        if not account:
            raise refusal(401, "Invalid username or password.")
        token = request.headers["authorization"].partition(" ")[2]
        role = "read" if token in self.read_only else "write"
        described = {"displayName": "limner", "role": role, "createdAt": "2026-01-01T00:00:00.000Z"}
        return JSONResponse(
            {
                "type": "user",
                "id": "0" * 24,
                "name": account,
                "fullname": account,
                "email": None,
                "emailVerified": True,
                "avatarUrl": "/avatars/ann.svg",
                "isPro": False,
                "canPay": False,
                "billingMode": "prepaid",
                "periodEnd": None,
                "orgs": [],
                "auth": {"type": "access_token", "accessToken": described},
            }
        )

    # --- repos --------------------------------------------------------------------------------------------------

    async def _create(self, request: Request) -> Response:
        body = await request.json()
        owner = body.get("organization") or self.account(request)
        author = self.writer(request, owner)
        name = f"{owner}/{body['name']}"
        if name.lower() in self.repos:
            raise refusal(409, "You already created this model repo", url=f"{request.base_url}{name}")
        wants = body.get("visibility") == "private" or bool(body.get("private"))
        repo = HubRepo(name, wants and not self.ignore_private, self.contents)
        repo.commit({".gitattributes": repo.keep(GIT_ATTRIBUTES, lfs=False)}, summary="initial commit", author=author)
        self.repos[name.lower()] = repo
        return JSONResponse({"url": f"{request.base_url}{name}", "name": name, "id": secrets.token_hex(12)})

    async def _delete(self, request: Request) -> Response:
        body = await request.json()
        owner = body.get("organization") or self.account(request)
        self.writer(request, owner)
        if self.repos.pop(f"{owner}/{body['name']}".lower(), None) is None:
            raise refusal(404, "Repository not found", code="RepoNotFound")
        return JSONResponse({})

    async def _settings(self, request: Request) -> Response:
        repo, body = self.writable(request), await request.json()
        if not self.ignore_private and ("visibility" in body or "private" in body):
            repo.private = body.get("visibility", "private" if body.get("private") else "public") == "private"
        if "gated" in body:
            repo.gated = body["gated"]
        return JSONResponse({"private": repo.private, "gated": repo.gated})

    async def _list(self, request: Request) -> Response:
        account, wanted = self.account(request), request.query_params.getlist("filter")
        author = request.query_params.get("author", "")
        shown = [
            self._described(request, repo)
            for repo in self.repos.values()
            if (not author or repo.owner == author) and (not repo.private or repo.owner == account)
        ]
        return JSONResponse([one for one in shown if set(wanted) <= set(one["tags"])])

    def _described(self, request: Request, repo: HubRepo, revision: str = "main") -> dict[str, Any]:
        described = describe_model(repo, revision, blobs=request.query_params.get("blobs") == "true")
        if "inferenceProviderMapping" in request.query_params.getlist("expand"):
            described["inferenceProviderMapping"] = self.router.mapping(repo)
        return described

    async def _info(self, request: Request) -> Response:
        repo = self.repo(request)
        return JSONResponse(self._described(request, repo, unquote(request.path_params.get("revision", "main"))))

    async def _refs(self, request: Request) -> Response:
        repo = self.repo(request)
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": sha} for n, sha in repo.branches.items()]
        tags = [{"name": n, "ref": f"refs/tags/{n}", "targetCommit": sha} for n, sha in repo.tags.items()]
        return JSONResponse({"branches": branches, "converts": [], "tags": tags})

    async def _tree(self, request: Request) -> Response:
        commit = found(self.repo(request), request)
        deep = request.query_params.get("recursive", "").lower() == "true"
        return JSONResponse(describe_tree(commit, unquote(request.path_params.get("path", "")), deep=deep))

    async def _paths_info(self, request: Request) -> Response:
        commit = found(self.repo(request), request)
        form = await request.form()
        paths = {str(path).rstrip("/") for path in form.getlist("paths")}
        listed = describe_tree(commit, "", deep=True)
        return JSONResponse([one for one in listed if one["path"] in paths])

    async def _commits(self, request: Request) -> Response:
        repo = self.repo(request)
        return JSONResponse(
            [
                {
                    "id": c.sha,
                    "title": c.summary,
                    "message": "",
                    "authors": [{"user": c.author}],
                    "date": moment(c.date),
                }
                for c in repo.history[::-1]
            ]
        )

    async def _tag(self, request: Request) -> Response:
        repo = self.writable(request)
        if request.method == "DELETE":
            if repo.tags.pop(unquote(request.path_params["revision"]), None) is None:
                raise refusal(404, "Tag not found", code="RevisionNotFound")
            return JSONResponse({})
        body = await request.json()
        if body["tag"] in repo.tags:
            raise refusal(409, f"Tag reference exists already: refs/tags/{body['tag']}")
        repo.tags[body["tag"]] = found(repo, request).sha
        return JSONResponse({})

    async def _branch(self, request: Request) -> Response:
        repo, branch = self.writable(request), unquote(request.path_params["branch"])
        if request.method == "DELETE":
            repo.branches.pop(branch, None)
            return JSONResponse({})
        body = json.loads(await request.body() or b"{}")
        if branch in repo.branches:
            raise refusal(409, f"Reference already exists: refs/heads/{branch}")
        start = repo.find(body.get("startingPoint", "main"))
        if start is None:
            raise refusal(404, "Invalid rev id", code="RevisionNotFound")
        repo.branches[branch] = start.sha
        return JSONResponse({})

    # --- uploading ----------------------------------------------------------------------------------------------

    async def _validate_yaml(self, request: Request) -> Response:
        body = await request.json()
        try:
            header = card_of(body["content"])
        except ValueError as failure:
            return JSONResponse({"errors": [{"message": str(failure)}], "warnings": []}, status_code=400)
        errors = [] if isinstance(header.get("license", ""), str) else [{"message": '"license" must be a string'}]
        if header.get("license") == "other" and not header.get("license_name"):
            errors.append({"message": '"license_name" is required where "license" is other'})
        warnings = [] if header else [{"message": "empty or missing yaml metadata in repo card"}]
        return JSONResponse({"errors": errors, "warnings": warnings}, status_code=400 if errors else 200)

    async def _preupload(self, request: Request) -> Response:
        repo = self.writable(request)
        commit, answer = found(repo, request), []
        for entry in (await request.json())["files"]:
            sample, known = base64.b64decode(entry["sample"]), commit.files.get(entry["path"])
            mode = "lfs" if entry["path"].endswith(".safetensors") or is_binary(sample) else "regular"
            oid = {"oid": known.sha256 if known.lfs else known.oid} if known else {}
            answer.append({"path": entry["path"], "uploadMode": mode, "shouldIgnore": False, **oid})
        return JSONResponse({"files": answer, "commitOid": commit.sha})

    async def _commit(self, request: Request) -> Response:
        repo = self.writable(request)
        branch = unquote(request.path_params["revision"])
        lines = [json.loads(line) for line in (await request.body()).splitlines() if line.strip()]
        self.before_commit(repo)
        now, header = found(repo, request), lines[0]["value"]
        if not header.get("summary"):
            raise refusal(400, "A commit needs a summary")
        if header.get("parentCommit") and not now.sha.startswith(header["parentCommit"]):
            raise refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(now.files)
        for line in lines[1:]:
            self._apply(repo, files, line["key"], line["value"])
        made = repo.commit(files, summary=header["summary"], author=self.account(request), branch=branch)
        address = f"{request.base_url}{repo.id}/commit/{made.sha}"
        return JSONResponse({"success": True, "commitOid": made.sha, "commitUrl": address, "hookOutput": ""})

    def _apply(self, repo: HubRepo, files: dict[str, HubFile], key: str, value: dict[str, Any]) -> None:
        path = value["path"]
        if key == "file":
            try:
                data = base64.b64decode(value["content"], validate=True)
            except binascii.Error:
                raise refusal(400, "The content is not base64") from None
            if is_binary(data[:512]):
                raise refusal(400, "Your push was rejected because it contains binary files. Use Git LFS.")
            files[path] = repo.keep(data, lfs=False)
        elif key == "lfsFile":
            data = self.contents.get(value["oid"], b"")
            if len(data) != value.get("size", len(data)) or value["oid"] not in self.contents:
                raise refusal(400, f"LFS pointer pointed to a file that does not exist: {path}")
            files[path] = repo.keep(data, lfs=True)
        elif key == "deletedFile":
            if files.pop(path, None) is None:
                raise refusal(404, "A file with this name doesn't exist", code="EntryNotFound")
        elif key == "deletedFolder":
            for inside in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
                del files[inside]
        else:
            raise refusal(400, f"Unknown operation {key}")

    # --- reading ------------------------------------------------------------------------------------------------

    async def _resolve(self, request: Request) -> Response:
        repo = self.repo(request, content=True)
        commit = found(repo, request)
        one = commit.files.get(request.path_params["path"])
        headers = {"x-repo-commit": commit.sha, "accept-ranges": "bytes"}
        if one is None:
            raise refusal(404, "Entry not found", code="EntryNotFound", **{"x-repo-commit": commit.sha})
        data = repo.content(one)
        headers["etag"] = f'"{one.sha256 if one.lfs else one.oid}"'
        if one.lfs:
            headers |= {"x-linked-etag": headers["etag"], "x-linked-size": str(one.size)}
        status, span = 200, request.headers.get("range", "")
        if span.startswith("bytes="):
            first, _, last = span.removeprefix("bytes=").partition("-")
            start, end = int(first or 0), min(int(last or one.size - 1), one.size - 1)
            if start >= one.size:
                return Response(status_code=416, headers={"content-range": f"bytes */{one.size}"})
            headers["content-range"] = f"bytes {start}-{end}/{one.size}"
            status, data = 206, data[start : end + 1]
        media = "application/octet-stream" if one.lfs else "text/plain; charset=utf-8"
        body = b"" if request.method == "HEAD" else data
        return Response(body, status, {**headers, "content-length": str(len(data))}, media)

    async def _page(self, request: Request) -> Response:
        repo = self.repo(request)
        return HTMLResponse(f"<!doctype html><title>{repo.id}</title><h1>{repo.id}</h1>")


def is_binary(sample: bytes) -> bool:
    """As the hub guesses from a file's first bytes."""
    try:
        sample[:-3].decode("utf-8")
    except UnicodeDecodeError:
        return True
    return b"\0" in sample


def guarded(handler: Any) -> Any:
    """Turn a Refused into its answer."""

    async def answer(request: Request) -> Response:
        try:
            response: Response = await handler(request)
        except Refused as no:
            return no.answer
        return response

    return answer
