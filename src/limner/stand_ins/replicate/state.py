"""The state of the Replicate stand-in: accounts, models, files, trainings, predictions, deliveries and webhooks.

It follows the vendor's published interface on the routes that Limner and the vendor's own SDK use, keeps its state in
plain attributes, and does the work with an engine of ours.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from limner.errors import Cancelled
from limner.stand_ins.counting import Paid
from limner.stand_ins.engine import Engine
from limner.stand_ins.replicate.bodies import job_body
from limner.stand_ins.replicate.models import StoredModel, StoredVersion, shipped_models
from limner.stand_ins.replicate.stored import JobFailed, StoredFile, StoredJob, time_words
from limner.stand_ins.replicate.webhooks import WebhookSender

__all__ = ["ReplicateState"]

LOG_EVENTS = 0.5  # seconds between two webhooks about logs or output


@dataclass(slots=True)
class _Delivery:
    data: bytes
    media_type: str
    job: StoredJob


class ReplicateState:
    """Replicate with state; what its settings mean stands at ``ReplicateStandIn``."""

    def __init__(self, engine: Engine, *, tokens: Mapping[str, str] | None = None) -> None:
        self.engine = engine
        self.tokens = dict(tokens or {"token": "ann"})
        self.url = ""
        self.models: dict[str, StoredModel] = shipped_models(time_words(time.time()))
        self.files: dict[str, StoredFile] = {}
        self.trainings: dict[str, StoredJob] = {}
        self.predictions: dict[str, StoredJob] = {}
        self.paid: list[Paid] = []
        self.webhook_key = "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()
        self.webhooks = WebhookSender(self.webhook_key)
        self.pace = 0.0
        self.held = ""
        self.retention = 3600.0
        self.training_retention: float | None = None
        self.file_seconds = 24 * 3600.0
        self.endings: list[tuple[str, str]] = []
        self.ignores_private = False
        self.mixes_private = False
        self.withdrawn: set[str] = set()
        self.change_weights: Callable[[bytes], bytes] | None = None
        self.make_tar: Callable[[str, bytes, Sequence[tuple[str, str]]], bytes]
        self.plain_webhooks = True
        self.page_size = 100
        self.per_minute = (600, 3000)
        self.most_file_bytes = 100_000_000
        self._deliveries: dict[str, _Delivery] = {}
        self._calls: dict[tuple[str, str, int], int] = {}
        self._told: dict[str, float] = {}
        self._guard = threading.Lock()

    # --- accounts ---------------------------------------------------------------------------------------------------

    def account(self, authorization: str) -> str | None:
        """Whose token a header holds, None if nobody's."""
        scheme, _, token = authorization.partition(" ")
        return self.tokens.get(token) if scheme.lower() in ("bearer", "token") else None

    def count_call(self, owner: str, kind: str) -> tuple[int, int, int]:
        """Count a call; gives the limit a minute, what is left of it (below 0: refused), and the seconds to its end."""
        limit = self.per_minute[0 if kind == "create" else 1]
        minute, second = divmod(int(time.time()), 60)
        with self._guard:
            key = (owner, kind, minute)
            self._calls[key] = self._calls.get(key, 0) + 1
            return limit, limit - self._calls[key], 60 - second

    # --- models, files, deliveries ------------------------------------------------------------------------------------

    def find_model(self, name: str, owner: str) -> StoredModel | None:
        """A model that the account may see."""
        model = self.models.get(name)
        if model is None or name in self.withdrawn or (model.visibility == "private" and model.owner != owner):
            return None
        return model

    def add_model(self, owner: str, name: str, visibility: str, hardware: str) -> StoredModel | None:
        """Make a model; None if the name is taken."""
        model = StoredModel(owner, name, "public" if self.ignores_private else visibility, hardware=hardware)
        with self._guard:
            if model.full_name in self.models:
                return None
            self.models[model.full_name] = model
        return model

    def add_file(self, owner: str, name: str, content_type: str, data: bytes, metadata: dict[str, Any]) -> StoredFile:
        """Keep an upload."""
        now = time.time()
        file = StoredFile(_id(), owner, name, content_type, data, now, now + self.file_seconds, metadata)
        self.files[file.id] = file
        return file

    def find_file(self, file: str, owner: str) -> StoredFile | None:
        """An upload of the account that has not expired."""
        found = self.files.get(file)
        if found is not None and found.expires < time.time():
            self.files.pop(file, None)
            return None
        return found if found is not None and found.owner == owner else None

    def read_input(self, url: str, owner: str) -> bytes:
        """A file of an input: an upload, or whatever its address gives. JobFailed."""
        marker = "/v1/files/"
        if marker in url and url.startswith(self.url):
            file = self.find_file(url.partition(marker)[2].partition("/")[0], owner)
            if file is None:
                raise JobFailed(f"404 Client Error: Not Found for url: {url}")
            return file.data
        if url.startswith("data:"):
            return base64.b64decode(url.partition(",")[2])
        return get_url(url)

    def deliver(self, name: str, data: bytes, media_type: str, job: StoredJob) -> str:
        """Make a file fetchable for whoever knows its address; gives the address."""
        path = f"{secrets.token_urlsafe(16)}/{name}"
        self._deliveries[path] = _Delivery(data, media_type, job)
        return f"{self.url}/delivery/{path}"

    def delivery(self, path: str) -> tuple[bytes, str] | None:
        """A delivered file, None once it has expired."""
        found = self._deliveries.get(path)
        if found is None or self.data_gone(found.job):
            return None
        return found.data, found.media_type

    # --- jobs -------------------------------------------------------------------------------------------------------

    def data_gone(self, job: StoredJob) -> bool:
        """Whether a job's data have been deleted for their age."""
        kept = self.retention if job.kind == "prediction" else self.training_retention
        return job.ended and kept is not None and time.time() - job.completed > kept

    def body(self, job: StoredJob) -> dict[str, Any]:
        """A job as the vendor shows it."""
        return job_body(self.url, job, gone=self.data_gone(job))

    def begin(self, job: StoredJob) -> None:
        """Take a job: it is paid for, and works in a thread."""
        (self.trainings if job.kind == "training" else self.predictions)[job.id] = job
        self.paid.append(Paid(job.kind, job.id, job.created))
        threading.Thread(target=self._work, args=(job,), name=f"{job.kind} {job.id}", daemon=True).start()

    def new_job(
        self, kind: str, owner: str, model: StoredModel, version: StoredVersion, given: dict[str, Any], **more: Any
    ) -> StoredJob:
        """A job that is not begun yet."""
        return StoredJob(_id(), kind, owner, model, version, given, time.time(), **more)

    def work(self, job: StoredJob) -> Any:
        """Do a job; gives its output. Cancelled, JobFailed."""
        raise NotImplementedError

    def _work(self, job: StoredJob) -> None:
        ending = self._ending()
        if ending is not None and ending[0] == "aborted":
            # What ended before it began is not charged.
            self.paid = [one for one in self.paid if one.tag != job.id]
            self._end(job, "aborted", error=ending[1] or None)
            return
        self._wait(job, "starting")
        if job.cancelled.is_set():
            self._end(job, "canceled")
            return
        job.started, job.status = time.time(), "processing"
        self.tell(job, "start")
        try:
            if ending is not None and ending[0] == "stuck":
                job.cancelled.wait()
                raise Cancelled("stopped")
            if ending is not None:
                self.say(job, f"{ending[1]}\n")
                self._end(job, ending[0], error=ending[1] or None)
                return
            output: Any = self.work(job)
        except Cancelled:
            self._end(job, "canceled")
        except JobFailed as failure:
            self.say(job, f"\n{failure}\n")
            self._end(job, "failed", error=str(failure))
        except Exception as failure:
            self._end(job, "failed", error=f"{type(failure).__name__}: {failure}")
        else:
            self._end(job, "succeeded", output=output)

    def _ending(self) -> tuple[str, str] | None:
        with self._guard:
            return self.endings.pop(0) if self.endings else None

    def _wait(self, job: StoredJob, where: str) -> None:
        while self.held == where and not job.cancelled.wait(0.005):
            continue

    def go_on(self, job: StoredJob, step: int) -> None:
        """Called before each step: takes the time that a step takes here."""
        if step:
            self._wait(job, "processing")
        if self.pace:
            job.cancelled.wait(self.pace)

    def say(self, job: StoredJob, text: str) -> None:
        """Add to a job's log."""
        job.logs += text
        self.tell(job, "logs")

    def _end(self, job: StoredJob, status: str, *, output: Any = None, error: str | None = None) -> None:
        job.completed, job.output, job.error = time.time(), output, error
        job.started = job.started or (0.0 if status == "aborted" else job.completed)
        job.status = status
        if output is not None:
            self.tell(job, "output")
        self.tell(job, "completed")

    def tell(self, job: StoredJob, event: str) -> None:
        """Send a webhook about a job, if it asked for this kind."""
        if not job.webhook or event not in (job.events or ("output", "completed")):
            return
        now = time.monotonic()
        if event in ("logs", "output"):
            if now - self._told.get(job.id, -1.0) < LOG_EVENTS:
                return
            self._told[job.id] = now
        self.webhooks.send(job.webhook, event, self.body(job))


def get_url(url: str) -> bytes:
    import httpx2

    try:
        response = httpx2.get(url, follow_redirects=True, timeout=20.0)
    except (httpx2.HTTPError, httpx2.InvalidURL) as failure:
        raise JobFailed(f"Failed to download safetensors file: {type(failure).__name__} for url: {url}") from failure
    if response.status_code >= 400:
        raise JobFailed(f"{response.status_code} Client Error: for url: {url}")
    return response.content


def _id() -> str:
    """An id as the vendor's are: 26 signs of base 32, in lower case."""
    return base64.b32encode(hashlib.sha256(secrets.token_bytes(16)).digest()[:16]).decode().rstrip("=").lower()
