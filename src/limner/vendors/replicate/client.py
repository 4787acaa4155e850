"""Replicate: account, models, files, trainings and predictions. What it answers is read leniently.

The vendor's own SDK is not used: it knows no status ``aborted``, and hides the headers that say how long to wait.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from limner.errors import AnswerLost, Conflict, LimnerError, NotFound, VendorFailed, VendorRefused
from limner.vendors.http.client import Answer, VendorClient
from limner.vendors.http.limiter import limiter_for
from limner.vendors.replicate.answers import Job, Model, Upload, read_job, read_model, read_upload
from limner.vendors.replicate.vendor import VENDOR
from limner.vendors.secrets.tokens import Secret

__all__ = ["Job", "Model", "ReplicateClient", "Upload"]

CREATES = (9.0, 10)
"""Jobs a second, and at once: the vendor takes 600 a minute, and 3,000 of all other calls."""
UPLOAD_SECONDS = 600.0
MOST_PAGES = 200


class ReplicateClient(VendorClient):
    """Talks to Replicate with one token. Open it with ``async with``."""

    def __init__(self, base_url: str, token: Callable[[], Secret] | None) -> None:
        # Its older SDK wants the host without /v1, its newer one with: both work here.
        super().__init__(VENDOR, base_url.rstrip("/").removesuffix("/v1"), token)

    # --- account and models -----------------------------------------------------------------------------------------

    async def account(self) -> str:
        """The account's name. AccountRefused: the token is not good."""
        body = await self._get("account")
        name = body.get("username")
        if not isinstance(name, str) or not name:
            raise VendorFailed(
                "Replicate does not say whose token this is.", remedy="Try again later.", thing="replicate"
            )
        return name

    async def hardware(self) -> list[str]:
        """The names of the machines that a model can be set to."""
        answer = await self.request("GET", "/v1/hardware")
        rows = answer.json if isinstance(answer.json, list) else []
        return [str(row["sku"]) for row in rows if isinstance(row, Mapping) and row.get("sku")]

    async def model(self, name: str) -> Model:
        """A model by ``owner/name``. NotFound: there is none, or it is private and somebody else's."""
        return read_model(await self._get(f"models/{name}", describe=_missing(f"a model {name}")), name)

    async def version(self, name: str, version: str) -> Mapping[str, Any]:
        """The ``openapi_schema`` of a model's version, empty if it has none. NotFound."""
        path = f"models/{name}/versions/{version}"
        schema = (await self._get(path, describe=_missing(f"a version {version} of {name}"))).get("openapi_schema")
        return schema if isinstance(schema, Mapping) else {}

    async def ensure_private_model(self, name: str) -> Model:
        """Make a private model unless it is there. Conflict: it is there and public.

        VendorFailed: it was made public although private was asked. VendorRefused: not an owner's name of this account.
        """
        try:
            found = await self.model(name)
        except NotFound:
            return await self._make_model(name)
        if found.visibility != "private":
            raise Conflict(
                f"The model {name} at Replicate is {found.visibility or 'of unknown visibility'}, and not private.",
                remedy="Make it private there, or delete it.",
                thing=name,
            )
        return found

    async def _make_model(self, name: str) -> Model:
        owner, _, short = name.partition("/")
        machines = await self.hardware()
        body = {
            "owner": owner,
            "name": short,
            "visibility": "private",
            # The vendor sets another machine for FLUX fine-tunes; the field is needed all the same.
            "hardware": "gpu-t4" if "gpu-t4" in machines or not machines else machines[0],
        }
        try:
            await self.request("POST", "/v1/models", json=body)
        except VendorRefused as refused:
            # Taken in the meantime, by ourselves where an answer was lost.
            try:
                found = await self.model(name)
            except NotFound:
                raise refused from None
        else:
            found = await self.model(name)
        if found.visibility != "private":
            raise VendorFailed(
                f"Replicate made the model {name} '{found.visibility}' although private was asked.",
                remedy=f"Nothing was uploaded. Delete it at https://replicate.com/{name}/settings",
                thing=name,
            )
        return found

    # --- files ------------------------------------------------------------------------------------------------------

    async def upload(self, path: Path, *, name: str, content_type: str, metadata: Mapping[str, str]) -> Upload:
        """Upload a file and check what arrived by size and digest.

        VendorRefused: too large. VendorFailed: damaged. AnswerLost: it may be there; again would be a copy.
        """
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            size = stream.tell()
            stream.seek(0)
            answer = await self.request(
                "POST",
                "/v1/files",
                files={"content": (name, stream, content_type)},
                data={"metadata": json.dumps(dict(metadata))},
                paid=True,
                timeout=UPLOAD_SECONDS,
                describe=lambda answer: _too_large(answer, size),
            )
        kept = read_upload(answer.json)
        wrong = kept.size not in (size, -1) or kept.sha256 not in (digest, "")
        if wrong or not kept.id or not kept.url:
            if kept.id:
                await self.delete_file(kept.id)
            raise VendorFailed(
                f"The upload of {name} to Replicate arrived damaged: {kept.size:,} of {size:,} bytes, another digest."
                if wrong
                else f"Replicate does not say where the upload of {name} is kept.",
                remedy="Try again.",
                thing=name,
            )
        return kept

    async def files(self) -> list[Upload]:
        """The files of the account, newest first; at most some thousands."""
        return [read_upload(row) async for row in self._pages("/v1/files")]

    async def delete_file(self, file: str) -> None:
        """Delete a file; harmless if it is gone."""
        try:
            await self.request("DELETE", f"/v1/files/{file}", expect_json=False)
        except NotFound:
            return

    # --- jobs -------------------------------------------------------------------------------------------------------

    async def create_training(self, model: str, version: str, body: Mapping[str, Any]) -> Job:
        """Start a training: this costs. AnswerLost: it may have been started."""
        return await self._create(f"/v1/models/{model}/versions/{version}/trainings", body)

    async def create_prediction(self, model: str, version: str, body: Mapping[str, Any]) -> Job:
        """Start a prediction, of the official model if no ``version``: this costs. AnswerLost: it may have started."""
        if version:
            return await self._create("/v1/predictions", {"version": version, **body})
        return await self._create(f"/v1/models/{model}/predictions", body)

    async def create_turn(self) -> None:
        """Wait for a turn to start a job: the vendor takes fewer of these than of other calls."""
        await limiter_for(f"replicate creates {self.base_url}", *CREATES).turn()

    async def _create(self, path: str, body: Mapping[str, Any]) -> Job:
        answer = await self.request("POST", path, json=dict(body), paid=True)
        job = read_job(answer.json)
        if not job.id:
            # It was taken, and only a look at the list can say under which name.
            raise AnswerLost(
                "A paid call was sent to Replicate and its answer names no id.",
                remedy="It is looked up there before anything is sent again.",
                thing="replicate",
            )
        return job

    async def training(self, job: str) -> Job:
        """Where a training is. NotFound: its data are gone."""
        return read_job(await self._get(f"trainings/{job}", describe=_missing(f"a training {job}")))

    async def prediction(self, job: str) -> Job:
        """Where a prediction is. NotFound: its data are gone."""
        return read_job(await self._get(f"predictions/{job}", describe=_missing(f"a prediction {job}")))

    async def trainings(self, since: datetime | None = None) -> AsyncIterator[Job]:
        """The account's trainings, newest first, down to those made before ``since``."""
        async for job in self._jobs("/v1/trainings", since, {}):
            yield job

    async def predictions(self, since: datetime | None = None) -> AsyncIterator[Job]:
        """The account's predictions, newest first, down to those made before ``since``."""
        params = {"created_after": since.astimezone(UTC).isoformat().replace("+00:00", "Z")} if since else {}
        async for job in self._jobs("/v1/predictions", since, params):
            yield job

    async def _jobs(self, path: str, since: datetime | None, params: Mapping[str, str]) -> AsyncIterator[Job]:
        async for row in self._pages(path, params):
            job = read_job(row)
            if since is not None and job.created_at is not None and job.created_at < since:
                return
            yield job

    async def cancel_training(self, job: str) -> None:
        """Stop a training; harmless if it has ended or is gone."""
        try:
            await self.request("POST", f"/v1/trainings/{job}/cancel", expect_json=False)
        except (NotFound, VendorRefused):
            return  # it has ended, so there is nothing to stop

    async def webhook_secret(self) -> Secret:
        """What the vendor signs its webhooks with."""
        key = (await self._get("webhooks/default/secret")).get("key")
        if not isinstance(key, str) or not key:
            raise VendorFailed("Replicate gives no secret for webhooks.", remedy="Polling goes on.", thing="replicate")
        return Secret(key)

    # --- answers ----------------------------------------------------------------------------------------------------

    async def _get(
        self, path: str, describe: Callable[[Answer], LimnerError | None] | None = None
    ) -> Mapping[str, Any]:
        return (await self.request("GET", f"/v1/{path}", describe=describe)).object

    async def _pages(self, path: str, params: Mapping[str, str] | None = None) -> AsyncIterator[Any]:
        """The entries of a list, page by page; a page that names itself as the next ends it."""
        seen: set[str] = set()
        following: str | None = path
        while following and following not in seen and len(seen) < MOST_PAGES:
            seen.add(following)
            answer = await self.request("GET", following, params=params if len(seen) == 1 and params else None)
            page = answer.json if isinstance(answer.json, Mapping) else {"results": answer.json}
            results = page.get("results")
            for row in results if isinstance(results, list) else []:
                yield row
            following = self._own(page.get("next"))

    def _own(self, url: Any) -> str | None:
        """The next page's address, below our base: the token is never sent to where an answer points."""
        if not isinstance(url, str) or not url:
            return None
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path


def _missing(what: str) -> Callable[[Answer], LimnerError | None]:
    def describe(answer: Answer) -> LimnerError | None:
        if answer.status != 404:
            return None
        return NotFound(
            f"Replicate does not know {what}.",
            remedy="Check the name; the vendor may have withdrawn it, or deleted its data.",
            thing=what,
        )

    return describe


def _too_large(answer: Answer, size: int) -> LimnerError | None:
    if answer.status != 413:
        return None
    return VendorRefused(
        f"The photos are too large for Replicate: {size / 1e6:,.0f} MB in one zip.",
        remedy="Train with fewer photos, or with smaller ones.",
        thing="photos",
    )
