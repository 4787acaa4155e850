"""Delivering webhooks: every process that lives for long does it, and each message is sent by one of them.

A message is claimed by putting off its next attempt before it is sent, so a process that dies in between costs a
minute, and no process sends what another one is sending. What was sent but not noted is sent again under the same id.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta

from sqlalchemy import select, update

from limner.operations.home.change_counter import Changes
from limner.operations.home.workspace import Workspace
from limner.operations.webhooks import messages as webhook_messages
from limner.store.models import JobRow, now
from limner.store.web_models import DeliveryRow, EventRow, WebhookRow

__all__ = ["PAUSES", "deliver_due", "delivering"]

log = logging.getLogger(__name__)

PAUSES = tuple(
    timedelta(seconds=seconds)
    for seconds in (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 14 * 3600, 20 * 3600, 24 * 3600)
)
"""How long after each failed attempt the next one is made; after the last one it is given up."""
SECONDS = 15.0
CLAIMED = timedelta(seconds=60)
AT_ONCE = 8
LOOK_SECONDS = 1.0


def deliver_due(workspace: Workspace) -> int:
    """Send what is due, several at a time; how many messages it was."""
    with workspace.database.read() as session:
        due = session.scalars(
            select(DeliveryRow.id)
            .where(DeliveryRow.state == "waiting", DeliveryRow.next_at <= now())
            .order_by(DeliveryRow.next_at, DeliveryRow.id)
            .limit(AT_ONCE)
        ).all()
    if not due:
        return 0
    with ThreadPoolExecutor(max_workers=len(due), thread_name_prefix="webhooks") as pool:
        return sum(pool.map(lambda delivery: _deliver(workspace, delivery), due))


def _claim(workspace: Workspace, delivery: int) -> bool:
    """Whether this process is the one that sends it now."""
    with workspace.database.write() as session:
        claimed = session.execute(
            update(DeliveryRow)
            .where(DeliveryRow.id == delivery, DeliveryRow.state == "waiting", DeliveryRow.next_at <= now())
            .values(next_at=now() + CLAIMED, attempts=DeliveryRow.attempts + 1)
        )
        return bool(claimed.rowcount)  # type: ignore[attr-defined]


def _deliver(workspace: Workspace, delivery: int) -> bool:
    try:
        if not _claim(workspace, delivery):
            return False
        with workspace.database.read() as session:
            found = session.execute(
                select(WebhookRow, EventRow, JobRow)
                .select_from(DeliveryRow)
                .join(WebhookRow, WebhookRow.id == DeliveryRow.webhook)
                .join(EventRow, EventRow.id == DeliveryRow.event)
                .join(JobRow, JobRow.id == EventRow.job)
                .where(DeliveryRow.id == delivery)
            ).first()
        if found is None:
            return False  # removed meanwhile
        webhook, event, job = found
        status, note = _send(workspace, webhook, event, job)
        _record(workspace, delivery, webhook.id, status, note)
    except Exception:
        # The claim runs out by itself, so it is tried again.
        log.exception("webhook message %s could not be delivered", delivery)
        return False
    return True


def _send(workspace: Workspace, webhook: WebhookRow, event: EventRow, job: JobRow) -> tuple[int | None, str]:
    body = webhook_messages.message_body(event, job)
    message = webhook_messages.message_id(workspace, event.id)
    return webhook_messages.send(workspace, webhook.id, webhook.url, message, body, seconds=SECONDS)


def _record(workspace: Workspace, delivery: int, webhook: str, status: int | None, note: str) -> None:
    with workspace.database.write() as session:
        row = session.get(DeliveryRow, delivery)
        if row is None:
            return
        row.status, row.note = status, note
        if status is not None and 200 <= status < 300:
            row.state = "delivered"
        elif status == 410:
            target = session.get(WebhookRow, webhook)
            if target is not None:
                target.active = False
            row.state = "given-up"
            session.flush()
            webhook_messages.give_up(session, webhook, "The address answered 410: it wants no more messages.")
        elif row.attempts > len(PAUSES):
            row.state = "given-up"
        else:
            row.next_at = now() + PAUSES[row.attempts - 1]


def _next(workspace: Workspace) -> datetime | None:
    """When the next message is due."""
    with workspace.database.read() as session:
        order = select(DeliveryRow.next_at).where(DeliveryRow.state == "waiting").order_by(DeliveryRow.next_at)
        return session.scalar(order.limit(1))


@contextmanager
def delivering(workspace: Workspace) -> Iterator[None]:
    """Deliver in a thread until the block ends; what is being sent is sent to its end."""
    stop = threading.Event()
    thread = threading.Thread(target=_keep_delivering, args=(workspace, stop), name="webhooks", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=SECONDS + 5)


def _keep_delivering(workspace: Workspace, stop: threading.Event) -> None:
    changes, seen, due = Changes(workspace), -1, None
    try:
        while True:
            try:
                number = changes.number()
                if number != seen or (due is not None and due <= now()):
                    seen = number
                    while deliver_due(workspace):
                        pass
                    due = _next(workspace)
            except Exception:
                log.exception("webhooks could not be looked at")
            if stop.wait(LOOK_SECONDS):
                break
    finally:
        changes.close()
