"""fal: its storage, its queue, and its list of past requests.

A request is paid by being taken into the queue. There is no key of ours that would make fal take it only once, so it is
sent once, and looked up in the list of past requests where the answer is lost. fal's own client is not used: it sends a
paid call again after its own time-out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limner.errors import AnswerLost, NotFound, VendorFailed, VendorRefused
from limner.settings import Settings
from limner.vendors.fal.answers import Listed, Status, failure_of, read_listed, read_status
from limner.vendors.fal.vendor import VENDOR
from limner.vendors.http.client import Answer, VendorClient
from limner.vendors.secrets.tokens import Secret

__all__ = ["FalClient", "Job", "open_fal"]

PARTS_ABOVE = 100 * 2**20
PART_SIZE = 10 * 2**20
PARTS_AT_ONCE = 4
UPLOAD_SECONDS = 600.0
MOST_PAGES = 20
LOOKS = (0.0, 3.0, 8.0)
"""Seconds before each look into the list of requests: it may lag behind."""
CLOCK_SKEW = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Job:
    """One request in the queue, with the addresses that fal gave for it."""

    model: str
    request_id: str
    status_url: str = field(repr=False)
    response_url: str = field(repr=False)
    cancel_url: str = field(repr=False)


def open_fal(settings: Settings, token: Callable[[], Secret] | None) -> FalClient:
    """A client by the settings, to be opened with ``async with``."""
    return FalClient(settings.fal_queue_url, settings.fal_rest_url, settings.fal_api_url, token)


class FalClient(VendorClient):
    """Talks to fal with one key. Open it with ``async with``. Results are downloaded without the key."""

    def __init__(self, queue_url: str, rest_url: str, api_url: str, token: Callable[[], Secret] | None) -> None:
        super().__init__(VENDOR, queue_url, token)
        self.rest_url = rest_url.rstrip("/")
        self.api_url = api_url.rstrip("/")

    # --- the queue ----------------------------------------------------------------------------------------------

    async def submit(
        self,
        model: str,
        body: Mapping[str, Any],
        *,
        keep_seconds: int,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Job:
        """Put a request into the queue. Paid, and never sent again where it may have been taken.

        ``keep_seconds`` is how long fal keeps the files it makes; ``before`` is called right before each sending. fal
        itself shall not run it again either.
        AnswerLost: it may be in the queue. VendorRefused: it surely is not.
        """
        answer = await self.request(
            "POST",
            model,
            json=dict(body),
            headers={"x-fal-no-retry": "1", "x-fal-object-lifecycle-preference": _lifecycle(keep_seconds)},
            paid=True,
            before=before,
            describe=_described,
        )
        given = answer.object
        if not isinstance(given.get("request_id"), str):
            raise AnswerLost(
                "A paid call was sent to fal and its answer names no request.",
                remedy="It is looked up there before anything is sent again.",
                thing="fal",
            )
        return self.job(model, given["request_id"], given)

    def job(self, model: str, request_id: str, given: Mapping[str, Any] | None = None) -> Job:
        """A request by its id. Where fal's own addresses for it are not at hand they are built as fal's client does."""
        known = given or {}
        own = f"{self.base_url}/{'/'.join(model.split('/')[:2])}/requests/{request_id}"
        return Job(
            model,
            request_id,
            str(known.get("status_url") or f"{own}/status"),
            str(known.get("response_url") or own),
            str(known.get("cancel_url") or f"{own}/cancel"),
        )

    async def status(self, job: Job, *, logs: bool = False) -> Status:
        """Where a request is. NotFound: fal does not know it."""
        answer = await self.request(
            "GET", self._on_queue(job.status_url), params={"logs": "1"} if logs else None, describe=_described
        )
        return read_status(answer.json)

    async def result(self, job: Job, *, failed: bool = False) -> Mapping[str, Any] | None:
        """What a completed request gave; None while it is not there yet. fal keeps it for an hour, or minutes only.

        ``failed``: the status told of an error, so a failure is the request's own and no disturbance. NotFound: fal has
        it no longer. ContentRefused, VendorRefused: the input was refused. WorkFailed: the model failed.
        """
        describe = _failed if failed else _described
        answer = await self.request("GET", self._on_queue(job.response_url), describe=describe)
        if answer.status == 202 or not isinstance(answer.json, Mapping):
            return None
        return answer.json

    async def cancel(self, job: Job) -> str:
        """Ask for a request to be stopped; fal's word on it. Harmless where it has ended."""
        try:
            answer = await self.request("PUT", self._on_queue(job.cancel_url), expect_json=False, describe=_described)
        except (VendorRefused, NotFound) as refusal:
            return refusal.message
        return str(answer.object.get("status", ""))

    def _on_queue(self, url: str) -> str:
        """The address, if it is on the queue's own host: the key goes nowhere else."""
        given, own = urlsplit(url), urlsplit(self.base_url)
        if (given.scheme, given.netloc.lower()) != (own.scheme, own.netloc.lower()):
            raise VendorFailed(
                f"fal's answer leads to {given.netloc or 'no host'}, where your key is not sent.",
                remedy="If fal moved its queue, set LIMNER_FAL_QUEUE_URL.",
                thing="fal",
            )
        return url

    # --- past requests and models -------------------------------------------------------------------------------

    async def requests(
        self, model: str, *, since: datetime | None = None, request_id: str = "", limit: int = 100
    ) -> list[Listed]:
        """The requests for a model that fal lists, with what was sent and given. Those still running may be missing."""
        params = {"endpoint_id": model, "limit": str(limit), "expand": "payloads"}
        if since is not None:
            params["start"] = (since - CLOCK_SKEW).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if request_id:
            params["request_id"] = request_id
        found: list[Listed] = []
        for _ in range(MOST_PAGES if limit >= 100 else 1):
            answer = await self.request("GET", f"{self.api_url}/models/requests/by-endpoint", params=params)
            body = answer.object
            found += read_listed(body.get("items"))
            if not body.get("next_cursor"):
                break
            params["cursor"] = str(body["next_cursor"])
        return found

    async def find(self, model: str, ours: Callable[[Listed], bool], *, since: datetime | None) -> Listed | None:
        """Look for a request of ours in the list, several times; None: it is not listed, which proves little."""
        for seconds in LOOKS:
            await asyncio.sleep(seconds)
            for listed in await self.requests(model, since=since):
                if ours(listed):
                    return listed
        return None

    async def output(self, job: Job) -> Mapping[str, Any] | None:
        """What a request gave, from the list of past requests, which keeps it longer than the queue does."""
        for listed in await self.requests(job.model, request_id=job.request_id):
            if listed.request_id == job.request_id and listed.output:
                return listed.output
        return None

    async def knows_model(self, model: str) -> bool:
        """Whether fal offers a model today. Free."""
        try:
            answer = await self.request("GET", f"{self.api_url}/models", params={"endpoint_id": model})
        except NotFound:
            return False
        for entry in answer.object.get("models") or ():
            if isinstance(entry, Mapping) and entry.get("endpoint_id") == model:
                about = entry.get("metadata")
                status = about.get("status") if isinstance(about, Mapping) else None
                return status in (None, "active")
        return False

    async def forget(self, request_id: str) -> bool:
        """Have fal delete what a request sent and gave. It takes an admin's key; False: it was not allowed."""
        try:
            await self.request(
                "DELETE",
                f"{self.api_url}/models/requests/{request_id}/payloads",
                headers={"idempotency-key": f"forget-{request_id}"},
                expect_json=False,
            )
        except NotFound:
            return True
        except Exception:  # whatever is in the way, it expires by itself
            return False
        return True

    # --- storage ------------------------------------------------------------------------------------------------

    async def upload(self, path: Path, name: str, *, media_type: str, keep_seconds: int) -> str:
        """Upload a file under a name; its address, which anyone who knows it can read until fal deletes it.

        Straight to fal's CDN, in parts if it is large; where that fails by an address for one upload.
        """
        try:
            return await self._upload_to_cdn(path, name, media_type, keep_seconds)
        except (VendorFailed, VendorRefused, NotFound):
            return await self._upload_to_address(path, name, media_type, keep_seconds)

    async def _upload_to_cdn(self, path: Path, name: str, media_type: str, keep_seconds: int) -> str:
        given = await self._rest("storage/auth/token?storage_type=fal-cdn-v3", {}, {})
        base = _text(given, "base_url").rstrip("/")
        authorised = {"authorization": f"{_text(given, 'token_type')} {_text(given, 'token')}"}
        about = authorised | {"content-type": media_type, "x-fal-file-name": name} | _lifecycle_headers(keep_seconds)
        if path.stat().st_size > PARTS_ABOVE:
            return await self._upload_parts(path, f"{base}/files/upload/multipart", about, authorised, media_type)
        data = await asyncio.to_thread(path.read_bytes)
        return _text(await self._cdn("POST", f"{base}/files/upload", about, data), "access_url")

    async def _upload_parts(
        self, path: Path, url: str, about: Mapping[str, str], authorised: Mapping[str, str], media_type: str
    ) -> str:
        begun = await self._cdn("POST", url, about, b"")
        address = _text(begun, "access_url")
        whole = f"{address}/multipart/{_text(begun, 'uploadId')}"
        turns = asyncio.Semaphore(PARTS_AT_ONCE)

        async def part(number: int) -> dict[str, Any]:
            async with turns:
                data = await asyncio.to_thread(_piece, path, (number - 1) * PART_SIZE)
                answer = await self._put(f"{whole}/{number}", {**authorised, "content-type": media_type}, data)
                return {"partNumber": number, "etag": answer.headers.get("etag", "")}

        count = -(-path.stat().st_size // PART_SIZE)
        parts = await asyncio.gather(*(part(number) for number in range(1, count + 1)))
        await self.request(
            "POST",
            f"{whole}/complete",
            json={"parts": parts},
            headers=authorised,
            authorised=False,
            expect_json=False,
        )
        return address

    async def _upload_to_address(self, path: Path, name: str, media_type: str, keep_seconds: int) -> str:
        given = await self._rest(
            "storage/upload/initiate?storage_type=gcs",
            {"file_name": name, "content_type": media_type},
            _lifecycle_headers(keep_seconds),
        )
        data = await asyncio.to_thread(path.read_bytes)
        await self._put(_text(given, "upload_url"), {"content-type": media_type}, data)
        return _text(given, "file_url")

    async def _rest(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str]) -> Mapping[str, Any]:
        answer = await self.request("POST", f"{self.rest_url}/{path}", json=dict(body), headers=headers)
        return answer.object

    async def _cdn(self, method: str, url: str, headers: Mapping[str, str], data: bytes) -> Mapping[str, Any]:
        answer = await self.request(
            method, url, headers=headers, content=data, authorised=False, timeout=UPLOAD_SECONDS
        )
        return answer.object

    async def _put(self, url: str, headers: Mapping[str, str], data: bytes) -> Answer:
        return await self.request(
            "PUT", url, headers=headers, content=data, authorised=False, timeout=UPLOAD_SECONDS, expect_json=False
        )


def _described(answer: Answer) -> Any:
    return failure_of(answer.status, answer.headers, answer.json)


def _failed(answer: Answer) -> Any:
    return failure_of(answer.status, answer.headers, answer.json, final=True)


def _lifecycle(seconds: int) -> str:
    return json.dumps({"expiration_duration_seconds": seconds})


def _lifecycle_headers(seconds: int) -> dict[str, str]:
    """The CDN reads one of the two, the other storage the other."""
    wish = _lifecycle(seconds)
    return {"x-fal-object-lifecycle": wish, "x-fal-object-lifecycle-preference": wish}


def _piece(path: Path, start: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(start)
        return stream.read(PART_SIZE)


def _text(given: Mapping[str, Any], key: str) -> str:
    value = given.get(key)
    if not isinstance(value, str) or not value:
        raise VendorFailed(
            f"fal's storage gave an answer without {key}.",
            remedy="Try again later; if it stays so, fal changed its interface.",
            thing="fal",
        )
    return value
