"""The storage of fal's stand-in: files at random addresses that end by themselves, uploaded whole, in parts, by PUT."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

__all__ = ["Files", "StoredFile"]


@dataclass
class StoredFile:
    """One file: its bytes, its kind, and when it ends (Unix seconds, None for never)."""

    data: bytes
    media_type: str
    name: str
    until: float | None = None
    parts: dict[int, bytes] = field(default_factory=dict)


class Files:
    """Files by their path below ``/cdn``. ``clock`` says what time it is; ``broken_cdn`` makes the CDN fail."""

    def __init__(self, address: Callable[[], str]) -> None:
        self._address = address
        self.stored: dict[str, StoredFile] = {}
        self.tokens: set[str] = set()
        self.broken_cdn = False
        self.clock: Callable[[], float] = time.time

    def keep(self, data: bytes, media_type: str, name: str, wish: str | None = None) -> str:
        """Store a file; gives its address."""
        path = f"files/{secrets.token_hex(4)}/{secrets.token_urlsafe(16)}_{name or 'file.bin'}"
        self.stored[path] = StoredFile(data, media_type, name, self._until(wish))
        return f"{self._address()}/cdn/{path}"

    def read(self, url: str) -> bytes | None:
        """The bytes at an address of ours; None if it is none, or the file ended."""
        if not url.startswith(f"{self._address()}/cdn/"):
            return None
        file = self._current(urlsplit(url).path.removeprefix("/cdn/"))
        return file.data if file else None

    def _until(self, wish: str | None) -> float | None:
        try:
            seconds = json.loads(wish or "{}").get("expiration_duration_seconds")
        except (ValueError, AttributeError):
            return None
        return self.clock() + float(seconds) if seconds else None

    def _current(self, path: str) -> StoredFile | None:
        file = self.stored.get(path)
        if file is None or (file.until is not None and file.until <= self.clock()):
            return None
        return file

    # --- the server's side --------------------------------------------------------------------------------------

    def token(self) -> dict[str, str]:
        """A token for uploads to the CDN."""
        self.tokens.add(token := f"cdn-{secrets.token_hex(8)}")
        ends = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(time.time() + 3600))
        return {"token": token, "token_type": "Bearer", "base_url": f"{self._address()}/cdn", "expires_at": ends}

    def initiate(self, body: Mapping[str, Any], wish: str | None) -> dict[str, str]:
        """Addresses for one upload by PUT, and for reading it then."""
        url = self.keep(b"", str(body.get("content_type")), str(body.get("file_name") or ""), wish)
        return {"upload_url": url.replace("/cdn/", "/put/"), "file_url": url}

    async def put(self, request: Request) -> Response:
        """PUT to an address that was given for it."""
        file = self.stored.get(request.path_params["path"])
        if file is None:
            return Response(status_code=403)
        file.data = await request.body()
        return Response()

    async def upload(self, request: Request) -> Response:
        """POST a whole file."""
        if refusal := self._refused(request):
            return refusal
        headers = request.headers
        wish = headers.get("x-fal-object-lifecycle")
        kind, name = headers.get("content-type", ""), headers.get("x-fal-file-name", "")
        return JSONResponse({"access_url": self.keep(await request.body(), kind, name, wish)})

    async def begin(self, request: Request) -> Response:
        """Begin an upload in parts."""
        if refusal := self._refused(request):
            return refusal
        headers = request.headers
        wish = headers.get("x-fal-object-lifecycle")
        url = self.keep(b"", headers.get("content-type", ""), headers.get("x-fal-file-name", ""), wish)
        return JSONResponse({"access_url": url, "uploadId": "1"})

    async def part(self, request: Request) -> Response:
        """PUT one part."""
        file = self.stored.get(request.path_params["path"])
        if refusal := self._refused(request):
            return refusal
        if file is None:
            return JSONResponse({"detail": "Not Found"}, 404)
        number = int(request.path_params["number"])
        file.parts[number] = await request.body()
        return Response(headers={"etag": f'"part-{number}-{len(file.parts[number])}"'})

    async def complete(self, request: Request) -> Response:
        """Put the parts together, if all that are named are there."""
        file = self.stored.get(request.path_params["path"])
        named = (await request.json()).get("parts", [])
        if refusal := self._refused(request):
            return refusal
        if file is None or any(
            part.get("etag") != f'"part-{part["partNumber"]}-{len(file.parts.get(part["partNumber"], b""))}"'
            for part in named
        ):
            return JSONResponse({"detail": "A part is missing."}, 400)
        file.data = b"".join(
            file.parts[part["partNumber"]] for part in sorted(named, key=lambda one: one["partNumber"])
        )
        file.parts.clear()
        return JSONResponse({})

    async def read_out(self, request: Request) -> Response:
        """GET a file, also a range of it; no token is asked for."""
        file = self._current(request.path_params["path"])
        if file is None:
            return JSONResponse({"detail": "Not Found"}, 404)
        headers = {"accept-ranges": "bytes", "etag": f'"{len(file.data)}"'}
        wanted = request.headers.get("range", "")
        if wanted.startswith("bytes=") and wanted[6:].partition("-")[0].isdigit():
            first, _, last = wanted[6:].partition("-")
            start, end = int(first), min(int(last) if last.isdigit() else len(file.data) - 1, len(file.data) - 1)
            if start > end:
                return Response(status_code=416, headers={"content-range": f"bytes */{len(file.data)}"})
            headers["content-range"] = f"bytes {start}-{end}/{len(file.data)}"
            return Response(file.data[start : end + 1], 206, headers, file.media_type)
        return Response(file.data, 200, headers, file.media_type)

    def _refused(self, request: Request) -> Response | None:
        if self.broken_cdn:
            return JSONResponse({"detail": "The CDN is down."}, 404)
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or token not in self.tokens:
            return JSONResponse({"detail": "Unauthorized"}, 401)
        return None
