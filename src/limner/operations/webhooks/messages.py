"""Webhooks: who is told of what happens to jobs. Messages are queued with the change itself; ``delivery`` sends them.

Messages are signed as Standard Webhooks defines. A secret is derived from the home's key, so none is kept.
"""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from limner.blocking import run_now
from limner.errors import LimnerError
from limner.operations.home import signing_key
from limner.operations.home.workspace import Workspace
from limner.settings import Settings
from limner.store.models import JobRow, now
from limner.store.web_models import DeliveryRow, EventRow
from limner.vendors.http.public_web import PublicWeb
from limner.vendors.http.standard_webhooks import sign

__all__ = [
    "give_up",
    "message_body",
    "message_id",
    "secret_of",
    "send",
    "web_of",
]

log = logging.getLogger(__name__)


def secret_of(workspace: Workspace, webhook: str) -> str:
    """The secret that a webhook's messages are signed with."""
    derived = signing_key.derived(signing_key.home_key(workspace.home), "webhook", webhook)
    return f"whsec_{base64.b64encode(derived).decode()}"


def message_id(workspace: Workspace, event: int) -> str:
    """The id of an event's message: the same in every attempt, and no other home's."""
    return f"msg_{signing_key.derived(signing_key.home_key(workspace.home), 'message', str(event)).hex()[:24]}"


def message_body(event: EventRow, job: JobRow) -> bytes:
    """What is told: names and states, no prompts, no secrets."""
    data = {
        "job": job.id,
        "kind": job.kind,
        "state": event.kind.rpartition(".")[2],
        "subject": job.subject,
        "target": job.target,
    }
    return _body(event.kind, event.created_at.isoformat(), data)


def _body(kind: str, at: str, data: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": kind, "timestamp": at, "data": data}, separators=(",", ":")).encode()


def web_of(settings: Settings) -> PublicWeb:
    """The web as webhooks may reach it: public https, and this machine only where a setting allows it."""
    return PublicWeb(loopback=settings.webhooks_to_loopback)


def send(
    workspace: Workspace, webhook: str, url: str, message: str, body: bytes, *, seconds: float
) -> tuple[int | None, str]:
    """Send a signed message once; the status of the answer, None if there was none, and what it means.

    Whatever goes wrong is such an answer: what was not noted as an attempt would be tried for ever.
    """
    headers = sign(secret_of(workspace, webhook), message, int(now().timestamp()), body)
    sent = {"content-type": "application/json", **headers}
    try:
        status = run_now(web_of(workspace.settings).post(url, body, sent, seconds=seconds))
    except LimnerError as failure:
        return None, in_our_words(failure)
    except Exception as failure:
        log.exception("a message to the webhook %s could not be sent", webhook)
        return None, f"It could not be sent: an unexpected {type(failure).__name__}, of which the log has more."
    return status, note_of(status)


def in_our_words(failure: LimnerError) -> str:
    """What the web says of an address, as it is meant here."""
    return failure.message.replace("so it is not fetched", "so nothing is sent there")


def note_of(status: int) -> str:
    """What an answer means."""
    if 200 <= status < 300:
        return f"It answered {status}."
    if 300 <= status < 400:
        return f"It answered {status}: it sends elsewhere, which is not followed. Give the address itself."
    if status == 410:
        return "It answered 410: it wants no more messages."
    return f"It answered {status}; a message counts as delivered when 2xx is answered."


def give_up(session: Session, webhook: str, why: str) -> None:
    """Deliver nothing more of what waits for a webhook."""
    session.execute(
        update(DeliveryRow)
        .where(DeliveryRow.webhook == webhook, DeliveryRow.state == "waiting")
        .values(state="given-up", note=why)
    )
