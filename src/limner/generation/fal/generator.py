"""The generator of fal: FLUX.1 and FLUX.2 with loras, each picture a request in its queue, many at once."""

from __future__ import annotations

import asyncio
import base64
import binascii
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from limner.catalog.hosted import HostedModel
from limner.errors import (
    AccountRefused,
    ContentRefused,
    InputRefused,
    LimnerError,
    NotFound,
    Undecided,
    VendorBusy,
    VendorFailed,
    VendorRefused,
    WorkFailed,
)
from limner.generation.alternatives import elsewhere
from limner.generation.fal.checks import is_loopback, order_problems
from limner.generation.fan_out import Brake, Paint
from limner.generation.generator import Drawn, GenerationOrder
from limner.generation.hosted import Foreseen, HostedGenerator, price_pictures, row_problems, words_of
from limner.hosted import Hosted
from limner.money.payments import Purchase, Receipt, announce
from limner.settings import Settings
from limner.types import Finding, LoraUse, PlannedCall, Reach, Severity
from limner.vendors.secrets.tokens import token_for

if TYPE_CHECKING:
    from limner.vendors.fal.answers import Listed
    from limner.vendors.fal.client import FalClient, Job

__all__ = ["FalGenerator"]

VENDOR = "fal"
AT_ONCE = 16
PAUSES = (0.5, 5.0)
"""Fewest and most seconds between two looks at a request."""
PATIENCE = 3600.0
"""Seconds until a request that does not end is given up; it is found again when the job is resumed."""
LORAS_KEPT = 86_400
PICTURES_KEPT = 86_400
ATTEMPTS = 3
UPLOADED = "(the address of the uploaded lora)"


class FalGenerator(HostedGenerator):
    """Draws with a model of fal. A lora that is nowhere public is uploaded to fal for a day, to a random address."""

    HOSTED = Hosted(
        vendor=VENDOR,
        does="generate",
        title="fal",
        summary="Draws in seconds with FLUX.1 and FLUX.2 on fal's machines; takes loras by address or as files.",
        sees_photos="no photos; fal gets the prompt and the lora, and makes the pictures",
        account="a key of fal",
        login="limner login fal, or set FAL_KEY",
        limits={"pictures_at_once": AT_ONCE, "reproducible": False},
        reach=(Reach.URL, Reach.FILE),
    )

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._uploads: dict[str, tuple[str, float]] = {}
        self._uploading: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def problems(self, order: GenerationOrder, row: HostedModel) -> Iterator[Finding]:
        yield from row_problems(order, row, self.HOSTED.title)
        loopback = is_loopback(urlsplit(self._settings.fal_queue_url).hostname or "")
        yield from order_problems(order, row, loopback=loopback)

    async def foresee(self, order: GenerationOrder, row: HostedModel, found: list[Finding]) -> Foreseen:
        """Ask whether the key is good, and the model there."""
        if self.describe().ready:
            async with self._client() as fal:
                found += await _asked(fal, row, order)
        queue, rest = self._settings.fal_queue_url.rstrip("/"), self._settings.fal_rest_url.rstrip("/")
        body = _body(row, order, order.seed, [use.url or UPLOADED for use in order.used])
        uploads = sum(not use.url for use in order.used)
        calls = [PlannedCall("POST", f"{rest}/storage/auth/token", times=uploads)] if uploads else []
        calls.append(PlannedCall("POST", f"{queue}/{row.model}", body, True, order.count - len(order.done)))
        return Foreseen(found, row, tuple(calls))

    @asynccontextmanager
    async def painting(self, order: GenerationOrder, row: HostedModel, brake: Brake) -> AsyncIterator[Paint]:
        async with self._client() as fal:
            places = [await self._address(fal, use) for use in order.used]
            try:
                yield lambda index: self._picture(fal, row, order, index, places, brake)
            except (VendorRefused, WorkFailed):
                for use in order.used:
                    self._uploads.pop(use.digest, None)  # it may be gone there: the next order uploads it anew
                raise

    async def _picture(
        self, fal: FalClient, row: HostedModel, order: GenerationOrder, index: int, places: Sequence[str], brake: Brake
    ) -> Drawn:
        """One picture, from the request that an earlier run bought if there is one.

        A request that failed is told as failed, and bought anew by the next run; one that an earlier run left to fail
        is bought anew at once.
        """
        body = _body(row, order, order.seed + index, places)
        tag = order.tag(index)
        for attempt in range(1, ATTEMPTS + 1):
            started = time.perf_counter()
            job, fresh = await self._bought(fal, row, order, tag, body, lambda: brake.go(index))
            brake.out.add(index)
            try:
                result = await _result(fal, job)
            except NotFound as gone:
                raise Undecided(
                    f"Picture {index} was bought before, and fal does not keep it any longer.",
                    remedy=f"limner costs decide {tag} again draws it once more, for its price.",
                    thing=tag,
                ) from gone
            except (VendorBusy, VendorFailed):
                raise
            except (ContentRefused, VendorRefused, WorkFailed) as failure:
                # What fal's filter looked at may be paid; what fal failed to do is not.
                await order.payments.failed(tag, cost=None if isinstance(failure, ContentRefused) else Decimal(0))
                if fresh or attempt == ATTEMPTS:
                    raise
                continue
            data = await _fetched(fal, result, index)
            seconds = time.perf_counter() - started
            versions = {"model": row.model, "request": job.request_id}
            return await self.drawn(order, index, data, seconds=seconds, versions=versions)
        raise AssertionError("unreachable")

    async def _bought(
        self, fal: FalClient, row: HostedModel, order: GenerationOrder, tag: str, body: Mapping[str, Any], go: Any
    ) -> tuple[Job, bool]:
        """The request of a picture, and whether this run sent it.

        It counts as stored at once: fal's id of it is kept, and with it the picture can be fetched after a crash.
        """
        given: list[Job] = []
        sent: list[datetime] = []

        async def going_out() -> None:
            go()
            await announce()
            sent.append(datetime.now(UTC))

        async def send() -> Receipt:
            given.append(await fal.submit(row.model, body, keep_seconds=PICTURES_KEPT, before=going_out))
            return Receipt(given[0].request_id)

        async def find() -> Receipt | None:
            return await _found(fal, row, order, tag, body, sent[0] if sent else None)

        price = price_pictures(row, order, 1).amount
        purchase = Purchase(tag, VENDOR, "picture", row.model, price, {"input": dict(body)}, announced=True)
        receipt = await order.payments.once(purchase, send=send, find=find)
        return (given[0], True) if given else (fal.job(row.model, receipt.reference), False)

    async def _address(self, fal: FalClient, use: LoraUse) -> str:
        """Where fal can fetch a lora: where it is published, else where it is uploaded to, for a day."""
        if use.url:
            return use.url
        if use.path is None:
            raise InputRefused(f"The lora {use.name} is not on this machine.", remedy="Import it.", thing=use.name)
        # Many jobs of one grid begin at once with the same lora: the first uploads it for all.
        async with self._uploading.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            url, until = self._uploads.get(use.digest, ("", 0.0))
            if time.monotonic() >= until:
                name = f"{use.digest[:16]}.safetensors"
                url = await fal.upload(use.path, name, media_type="application/octet-stream", keep_seconds=LORAS_KEPT)
                self._uploads[use.digest] = (url, time.monotonic() + LORAS_KEPT / 2)
        return url

    def _client(self) -> FalClient:
        from limner.vendors.fal.client import open_fal

        return open_fal(self._settings, token_for(VENDOR, self._settings))


def _body(row: HostedModel, order: GenerationOrder, seed: int, places: Sequence[str]) -> dict[str, Any]:
    """The input of one picture, in the model's own words."""
    ours: dict[str, Any] = {
        "prompt": order.prompt,
        "loras": [{"path": place, "scale": use.scale} for use, place in zip(order.used, places, strict=True)],
        "size": {"width": order.width, "height": order.height},
        "steps": order.steps,
        "guidance": order.guidance,
        "seed": seed,
    }
    return words_of(row, ours) | dict(order.extra)


async def _asked(fal: FalClient, row: HostedModel, order: GenerationOrder) -> list[Finding]:
    """Free questions: is the key good, and is the model there?"""
    found: list[Finding] = []
    try:
        if not await fal.knows_model(row.model):
            remedy = elsewhere(order.base, besides=VENDOR, model=row.model)
            found.append(Finding("model-gone", Severity.REFUSAL, f"fal does not offer {row.model} today.", remedy))
        await fal.requests(row.model, limit=1)
    except AccountRefused as refused:
        found.append(Finding("account", Severity.REFUSAL, refused.message, refused.remedy))
    except LimnerError as failure:
        message = f"fal could not be asked whether it is ready: {failure.message}"
        found.append(Finding("not-asked", Severity.WARNING, message, failure.remedy))
    return found


async def _found(
    fal: FalClient, row: HostedModel, order: GenerationOrder, tag: str, body: Mapping[str, Any], sent: datetime | None
) -> Receipt | None:
    """Look for a request by its whole input: who sent the same words and the same seed has the same picture.

    None: it was surely never sent, because nobody keeps a book that says so. Undecided: it is not listed.
    """
    from limner.money.payments import Unrecorded

    if sent is None and isinstance(order.payments, Unrecorded):
        return None

    def ours(listed: Listed) -> bool:
        return _within(body, listed.input)

    try:
        listed = await fal.find(row.model, ours, since=sent)
    except LimnerError as failure:
        raise _unknown(tag, f"its list of requests cannot be read ({failure.message})") from failure
    if listed is None:
        raise _unknown(tag, "does not list it, which it may do only once a request has ended")
    return Receipt(listed.request_id)


def _within(wanted: Any, given: Any) -> bool:
    """Whether what was sent is in what is listed, which may have defaults besides."""
    if isinstance(wanted, Mapping):
        return isinstance(given, Mapping) and all(
            name in given and _within(wanted[name], given[name]) for name in wanted
        )
    if isinstance(wanted, list):
        same = isinstance(given, list) and len(given) == len(wanted)
        return same and all(_within(one, other) for one, other in zip(wanted, given, strict=True))
    return bool(wanted == given)


def _unknown(tag: str, why: str) -> Undecided:
    return Undecided(
        f"A picture was asked for at fal and no answer came; fal {why}. It may be paid.",
        remedy=f"Resume later, which looks again; or look at fal.ai/dashboard and: limner costs decide {tag} ...",
        thing=tag,
    )


async def _result(fal: FalClient, job: Job) -> Mapping[str, Any]:
    """What a request gave, waited for. ContentRefused, VendorRefused, WorkFailed: it failed. NotFound: it is gone."""
    began, pause = time.monotonic(), PAUSES[0]
    while True:
        try:
            status = await fal.status(job)
            if status.state.value in ("completed", "failed", "cancelled"):
                result = await fal.result(job, failed=bool(status.error))
                if result is not None:
                    return result
                if status.error or status.state.value != "completed":
                    said = status.error or status.word
                    raise WorkFailed(f"The picture failed at fal: {said}.", remedy="Ask again.", thing=job.request_id)
        except NotFound:
            if (output := await fal.output(job)) is not None:
                return output
            raise
        if time.monotonic() - began > PATIENCE:
            raise VendorFailed(
                f"fal has not drawn the picture for {PATIENCE / 60:.0f} minutes (it says {status.word}).",
                remedy="Resume later: the request is kept, and not paid for twice.",
                thing=job.request_id,
            )
        await asyncio.sleep(pause)
        pause = min(PAUSES[1], pause * 1.3)


async def _fetched(fal: FalClient, result: Mapping[str, Any], index: int) -> bytes:
    """The bytes of the picture of a result. ContentRefused: it was blacked out. WorkFailed: there is none."""
    images, flagged = result.get("images"), result.get("has_nsfw_concepts")
    if isinstance(flagged, list) and any(flag is True for flag in flagged):
        raise ContentRefused(
            f"fal's filter judged picture {index} unfit and blacked it out.",
            remedy="Change the prompt or the seed, or set enable_safety_checker=false where that is right.",
            thing="prompt",
        )
    first = images[0] if isinstance(images, list) and images else None
    url = first.get("url") if isinstance(first, Mapping) else None
    if not isinstance(url, str) or not url:
        raise WorkFailed(f"fal gave no picture {index}.", remedy="Look at fal.ai/dashboard, then resume.", thing=VENDOR)
    if url.startswith("data:"):
        try:
            return base64.b64decode(url.partition(",")[2], validate=True)
        except (binascii.Error, ValueError) as failure:
            raise WorkFailed(f"fal's picture {index} is no base64.", remedy="Ask again.", thing=VENDOR) from failure
    with tempfile.TemporaryDirectory(prefix="limner-") as folder:
        path = await fal.download(url, Path(folder) / "picture")
        return await asyncio.to_thread(path.read_bytes)
