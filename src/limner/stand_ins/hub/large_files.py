"""Large files as git-lfs uploads them: a batch of addresses, bytes put there whole or in parts, then looked at."""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from limner.stand_ins.hub.answers import refusal
from limner.stand_ins.hub.repos import HubRepo
from limner.stand_ins.hub.state import HubState

__all__ = ["LargeFiles"]


class LargeFiles:
    """A file above ``multipart_above`` bytes is sent in parts of ``chunk_size``."""

    def __init__(self, hub: HubState) -> None:
        self.hub = hub
        self.multipart_above = 64 * 2**20
        self.chunk_size = 16 * 2**20
        self._uploads: dict[str, tuple[str, int, dict[int, bytes]]] = {}

    def routes(self, route: Any) -> list[Any]:
        """The addresses of the protocol."""
        return [
            route("/{owner}/{name}.git/info/lfs/objects/batch", self._batch, "POST"),
            route("/{owner}/{name}.git/info/lfs/objects/verify", self._verify, "POST"),
            route("/lfs-store/{key}/{part:int}", self._put, "PUT"),
            route("/lfs-store/{key}/complete", self._complete, "POST"),
        ]

    async def _batch(self, request: Request) -> Response:
        repo, body, answer = self.hub.writable(request), await request.json(), []
        for wanted in body["objects"]:
            oid, size = wanted["oid"], wanted["size"]
            entry: dict[str, Any] = {"oid": oid, "size": size}
            if oid not in self.hub.contents:
                self._refuse_beyond_quota(repo, size)
                key = secrets.token_hex(16)
                self._uploads[key] = (oid, size, {})
                base = f"{request.base_url}lfs-store/{key}"
                upload: dict[str, Any] = {"href": f"{base}/1"}
                if size > self.multipart_above and "multipart" in body["transfers"]:
                    parts = range(1, -(-size // self.chunk_size) + 1)
                    header = {f"{part:05d}": f"{base}/{part}" for part in parts}
                    upload = {"href": f"{base}/complete", "header": {"chunk_size": str(self.chunk_size), **header}}
                verify = {"href": f"{request.base_url}{repo.id}.git/info/lfs/objects/verify"}
                entry["actions"] = {"upload": upload, "verify": verify}
            answer.append(entry)
        return JSONResponse({"transfer": "basic", "objects": answer}, media_type="application/vnd.git-lfs+json")

    def _refuse_beyond_quota(self, repo: HubRepo, size: int) -> None:
        mine = [one for one in self.hub.repos.values() if one.owner == repo.owner and one.private]
        held = {f.sha256: f.size for one in mine for commit in one.commits.values() for f in commit.files.values()}
        if repo.private and self.hub.quota is not None and sum(held.values()) + size > self.hub.quota:
            raise refusal(403, "Private repository storage limit reached, please upgrade your plan")

    async def _put(self, request: Request) -> Response:
        """Takes bytes of whoever knows the address, like a presigned one."""
        if request.path_params["key"] not in self._uploads:
            raise refusal(403, "Request has expired")
        data = await request.body()
        oid, size, parts = self._uploads[request.path_params["key"]]
        parts[request.path_params["part"]] = data
        if len(parts) == 1 and len(data) == size:
            self._take(oid, size, data)
        return Response(headers={"etag": f'"{secrets.token_hex(8)}"'})

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        oid, size, parts = self._uploads[request.path_params["key"]]
        numbers = [one["partNumber"] for one in body["parts"]]
        self._take(oid, size, b"".join(parts[number] for number in numbers))
        return JSONResponse({})

    def _take(self, oid: str, size: int, data: bytes) -> None:
        if len(data) != size or hashlib.sha256(data).hexdigest() != oid:
            raise refusal(400, "The content does not match its oid and size")
        self.hub.contents[oid] = data

    async def _verify(self, request: Request) -> Response:
        body = await request.json()
        if len(self.hub.contents.get(body["oid"], b"")) != body["size"]:
            raise refusal(404, "The object was not uploaded")
        return JSONResponse({"message": "ok"})
