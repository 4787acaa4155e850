"""The steps from an order to a training that is bought once: account, version, model, upload, purchase, clean-up.

Each step is written down before the next begins; a crash between the two is mended by looking at the vendor's.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from limner.catalog.hosted import HostedModel
from limner.errors import AnswerLost, Conflict, LimnerError, NotFound, RecipeRefused, Undecided, VendorFailed
from limner.money.payments import Purchase, Receipt, announce
from limner.money.prices import estimate_training
from limner.training.replicate.inputs import PHOTOS, Wishes, fill_inputs
from limner.training.replicate.state import KeptFile, RunState
from limner.training.trainer import TrainingOrder
from limner.types import Finding, PlannedCall, Severity
from limner.vendors.replicate.client import Job, ReplicateClient, Upload
from limner.vendors.replicate.input_schema import InputField, input_fields

__all__ = ["Buyer"]

MARGIN = 15 * 60.0
"""Seconds that an upload must still be there for when a training begins."""
BACK = timedelta(hours=26)
"""How much older than our purchase a training in the list may seem: clocks differ, by a wrong time zone too."""
MOST_NAMES = 20
UPLOADS = 3
EVENTS = ("start", "completed")
ZIP = "application/zip"


class Buyer:
    """Takes one order through the steps. ``row`` None: only to clean up."""

    def __init__(
        self,
        client: ReplicateClient,
        order: TrainingOrder,
        row: HostedModel | None,
        wishes: Wishes,
        clock: Callable[[], float],
    ) -> None:
        self.client, self.order, self.wishes, self.clock = client, order, wishes, clock
        self._row = row

    @property
    def row(self) -> HostedModel:
        """The trainer's row of the catalog."""
        if self._row is None:
            raise RecipeRefused("There is no trainer for this order.", thing=self.order.id)
        return self._row

    # --- looking ahead ----------------------------------------------------------------------------------------------

    async def foresee(self) -> tuple[tuple[PlannedCall, ...], list[Finding]]:
        """The calls as they would be sent, and what the vendor's side of it forbids. Nothing is made or uploaded."""
        account = await self.client.account()
        version, fields = await self._version("")
        inputs, found = fill_inputs(self.row, self.order, self.wishes, fields, PHOTOS)
        name, exists = await self._free_name(account)
        base, order = self.client.base_url, self.order
        calls = [
            PlannedCall(
                "POST",
                f"{base}/v1/models",
                {"owner": account, "name": name.partition("/")[2], "visibility": "private", "hardware": "gpu-t4"},
            )
        ]
        upload = {"content": f"{_zip_name(order)} ({len(order.manifest.items)} photos)", "metadata": _metadata(order)}
        training = self._body(name, inputs)
        url = f"{base}/v1/models/{self.row.model}/versions/{version}/trainings"
        calls = [] if exists else calls
        calls.append(PlannedCall("POST", f"{base}/v1/files", upload))
        calls.append(PlannedCall("POST", url, training, costs=True))
        return tuple(calls), found

    # --- buying -----------------------------------------------------------------------------------------------------

    async def buy(self, state: RunState) -> None:
        """Go through the steps that are not done; afterwards ``state.training`` is the training, and bought once."""
        if not state.account:
            state.account = await self.client.account()
        if not state.version or not state.model:
            state.version, fields = await self._version("")
            state.model = self.row.model
        else:
            _, fields = await self._version(state.version)
        _refuse((await asyncio.to_thread(fill_inputs, self.row, self.order, self.wishes, fields, PHOTOS))[1])
        await asyncio.to_thread(state.save)
        await self._destination(state)
        photos = await self._upload(state)
        inputs, _ = fill_inputs(self.row, self.order, self.wishes, fields, photos)
        body = self._body(state.destination, inputs)
        if not state.sent:
            state.sent = self.clock()
            await asyncio.to_thread(state.save)
        order = self.order
        tag = state.tag(order.id)

        async def send() -> Receipt:
            await self.client.create_turn()
            await announce()
            job = await self.client.create_training(state.model, state.version, body)
            return Receipt(job.id)

        async def find() -> Receipt | None:
            job = await self._find(state)
            return Receipt(job.id) if job is not None else None

        estimate = estimate_training(self.row, steps=order.recipe.steps).amount
        purchase = Purchase(tag, "replicate", "training", state.model, estimate, body, announced=True)
        receipt = await order.payments.once(purchase, send=send, find=find)
        state.training = receipt.reference
        await asyncio.to_thread(state.save)

    def _body(self, destination: str, inputs: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {"destination": destination, "input": dict(inputs)}
        # The vendor refuses any other address; polling does without.
        url = self.order.webhook_url
        if url and (url.startswith("https://") or self.client.base_url.startswith("http://")):
            body |= {"webhook": url, "webhook_events_filter": list(EVENTS)}
        return body

    async def _version(self, pinned: str) -> tuple[str, dict[str, InputField]]:
        """The version to train with, and the fields of its input. RecipeRefused: the model has none."""
        wanted = pinned or self.wishes.version or self.row.version
        if not wanted:
            model = await self.client.model(self.row.model)
            if not model.version:
                raise RecipeRefused(
                    f"{self.row.model} at Replicate has no version that can be trained.",
                    remedy="The vendor may have withdrawn it: name another with --set trainer.model=...",
                    thing=self.row.model,
                )
            fields = input_fields(model.schema, "TrainingInput")
            if fields:
                return model.version, fields
            wanted = model.version
        return wanted, input_fields(await self.client.version(self.row.model, wanted), "TrainingInput")

    # --- the model that the training goes to -------------------------------------------------------------------------

    async def _destination(self, state: RunState) -> None:
        """One private model a subject, in the user's own account."""
        for _ in range(MOST_NAMES):
            if not state.destination:
                state.destination, _ = await self._free_name(state.account)
            try:
                await self.client.ensure_private_model(state.destination)
            except Conflict:
                state.destination = ""  # made public by somebody in between: take the next name
                continue
            await asyncio.to_thread(state.save)
            return
        raise self._no_name(state.account)

    async def _free_name(self, account: str) -> tuple[str, bool]:
        """The first name that is ours and private, or free; and whether it is there."""
        for number in range(1, MOST_NAMES + 1):
            name = f"{account}/{_model_name(self.order.manifest.subject.slug, number)}"
            try:
                found = await self.client.model(name)
            except NotFound:
                return name, False
            if found.visibility == "private" and found.name.lower() == name.lower():
                return name, True
        raise self._no_name(account)

    def _no_name(self, account: str) -> Conflict:
        slug = _model_name(self.order.manifest.subject.slug, 1)
        return Conflict(
            f"All names from {slug} to {slug}-{MOST_NAMES} at Replicate are taken by public models of {account}.",
            remedy="Make one of them private there, or delete it.",
            thing=slug,
        )

    # --- the photos ---------------------------------------------------------------------------------------------------

    async def _upload(self, state: RunState) -> str:
        """The address of the uploaded zip; an upload that an earlier run made is taken if it lasts long enough."""
        kept = state.file
        # A purchase that may be under way must stay findable by its file, so that one is never deleted here.
        if kept is not None and not self._expires_soon(kept):
            return kept.url
        if self.order.package is None:
            raise RecipeRefused(
                "The order has no packed dataset.", remedy="Freeze the dataset first.", thing=self.order.id
            )
        path = await asyncio.to_thread(self.order.package)
        digest = await asyncio.to_thread(_digest, path)
        found: list[KeptFile] = []
        fresh: KeptFile | None = None
        for _ in range(UPLOADS):
            if state.uploads > len(state.files):
                found = [_kept(one) for one in await self._ours() if one.sha256 in (digest, "")]
                fresh = next((one for one in found if not self._expires_soon(one)), None)
            if fresh is not None:
                break
            state.uploads += 1
            await asyncio.to_thread(state.save)
            with suppress(AnswerLost):
                fresh = _kept(await self._send_photos(path))
                break
        if fresh is None:
            raise VendorFailed(
                "The photos were sent to Replicate, and no answer says that they arrived.",
                remedy="Try again later; nothing was paid.",
                thing=self.order.id,
            )
        # The one in use goes last; earlier ones stay known, to be looked for and deleted.
        known = {one.id: one for one in (*state.files, *found) if one.id != fresh.id}
        state.files = [*known.values(), fresh]
        state.uploads = len(state.files)
        await asyncio.to_thread(state.save)
        return fresh.url

    async def _send_photos(self, path: Path) -> Upload:
        return await self.client.upload(
            path, name=_zip_name(self.order), content_type=ZIP, metadata=_metadata(self.order)
        )

    def _expires_soon(self, kept: KeptFile) -> bool:
        return bool(kept.expires) and kept.expires < self.clock() + MARGIN

    async def _ours(self) -> list[Upload]:
        """The uploads of this order, whichever run made them. The list only helps: its absence is no failure."""
        try:
            return [one for one in await self.client.files() if one.metadata.get("limner") == self.order.id and one.url]
        except LimnerError:
            return []

    async def clean_up(self, state: RunState) -> tuple[str, ...]:
        """Delete the photos at the vendor's; what could not be deleted is named."""
        files = {one.id for one in state.files}
        if state.uploads != len(files):
            files |= {one.id for one in await self._ours()}
        left = []
        for file in sorted(files):
            try:
                await self.client.delete_file(file)
            except LimnerError as failure:
                left.append(f"the uploaded photos at Replicate (file {file}): {failure.message}")
        return tuple(left)

    # --- finding a training whose answer was lost ---------------------------------------------------------------------

    async def _find(self, state: RunState) -> Job | None:
        """The training of this attempt in the vendor's list. Undecided: one may be it, and its data are gone."""
        since = datetime.fromtimestamp(state.sent, UTC) - BACK
        urls = {one.url for one in state.files}
        doubtful: list[Job] = []
        async for job in self.client.trainings(since):
            if job.id in state.earlier or job.version not in ("", state.version):
                continue
            if not job.input:
                job = await self._looked_at(job)
            if not job.input and job.destination in ("", state.destination):
                doubtful.append(job)
            elif urls & {value for value in job.input.values() if isinstance(value, str)}:
                return job
        if len(doubtful) == 1 and doubtful[0].destination == state.destination:
            return doubtful[0]
        if doubtful:
            tag = state.tag(self.order.id)
            raise Undecided(
                f"Replicate lists {len(doubtful)} trainings that may be this one, without their input.",
                remedy=f"See https://replicate.com/trainings, then: limner costs decide {tag} again (or drop).",
                thing=tag,
            )
        return None

    async def _looked_at(self, job: Job) -> Job:
        try:
            return await self.client.training(job.id)
        except NotFound:
            return job


def _refuse(found: list[Finding]) -> None:
    refusals = [one for one in found if one.severity is Severity.REFUSAL]
    if refusals:
        raise RecipeRefused(
            " ".join(one.message for one in refusals),
            remedy=" ".join(dict.fromkeys(one.remedy for one in refusals)),
            thing=refusals[0].code,
        )


def _model_name(slug: str, number: int) -> str:
    """The name of a subject's model: letters, digits and dashes, at most 60."""
    plain = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "-" for sign in slug.lower())
    name = f"limner-{plain.strip('-_.') or 'subject'}"[:56].rstrip("-_.")
    return name if number == 1 else f"{name}-{number}"


def _zip_name(order: TrainingOrder) -> str:
    # The subject's name is nobody's business there.
    return f"limner-{order.id[-8:]}.zip"


def _metadata(order: TrainingOrder) -> dict[str, str]:
    return {"limner": order.id}


def _kept(upload: Upload) -> KeptFile:
    expires = upload.expires_at.timestamp() if upload.expires_at is not None else 0.0
    return KeptFile(upload.id, upload.url, upload.sha256, expires)


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
