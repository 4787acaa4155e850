"""Our own CSS and scripts, and the built ones: cached for good, because their address holds a digest of them.

They go out compressed. Pages do not: a page has a token in it and words that others may have chosen.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from limner.web.rendering.templates import STATIC, STATIC_PATH

__all__ = ["mount"]

YEAR = 31_536_000
TEXTS = (".css", ".js", ".svg")


class _Immutable(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        headers = Headers(scope=scope)
        if isinstance(answer, FileResponse) and path.endswith(TEXTS):
            if "gzip" in headers.get("accept-encoding", "") and "range" not in headers:
                answer = _compressed(answer)
            answer.headers["Vary"] = "Accept-Encoding"
        named = b"v=" in scope.get("query_string", b"")
        answer.headers["Cache-Control"] = f"public, max-age={YEAR}, immutable" if named else "no-cache"
        return answer


def _compressed(answer: FileResponse) -> Response:
    tag = answer.headers["etag"]
    headers = {"Content-Encoding": "gzip", "ETag": tag, "Last-Modified": answer.headers["last-modified"]}
    return Response(_gzipped(Path(answer.path), tag), headers=headers, media_type=answer.media_type)


@lru_cache(maxsize=256)
def _gzipped(path: Path, _tag: str) -> bytes:
    return gzip.compress(path.read_bytes(), 9, mtime=0)


def mount(app: FastAPI) -> None:
    """Serve ``/static``."""
    app.mount(STATIC_PATH, _Immutable(directory=STATIC), name="static")
