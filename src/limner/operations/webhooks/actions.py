"""Webhooks: the addresses that are told of events."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from contextlib import AbstractContextManager
from urllib.parse import urlsplit

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from limner.errors import Conflict, InputRefused, NotFound
from limner.operations.home.facet import Facet
from limner.operations.home.workspace import Workspace
from limner.operations.webhooks.messages import _body, give_up, in_our_words, message_id, secret_of, send, web_of
from limner.records import Delivery, NewWebhook, Webhook, WebhookTest
from limner.store.models import LARGEST, now
from limner.store.web_models import DeliveryRow, EventRow, UserRow, WebhookRow

__all__ = ["EVENTS", "LONGEST_URL", "MOST", "TEST_SECONDS", "USUAL", "Webhooks"]


EVENTS = ("job.waiting", "job.running", "job.done", "job.failed", "job.cancelled")
"""What can be told."""


USUAL = ("job.done", "job.failed", "job.cancelled")


MOST = 50


LONGEST_URL = 2_000


TEST_SECONDS = 15.0


class Webhooks(Facet):
    """The addresses that are told of events: ``studio.webhooks``."""

    def add(self, url: str, events: Iterable[str] = USUAL) -> NewWebhook:
        """Add an address, with the kinds of event that it is told of; those at the end of a job if left out.

        InputRefused: the address is not a public https one, or an event is unknown. Conflict: it is there already.
        VendorFailed: its host cannot be found.
        """
        url = url.strip()
        wanted = _known(events)
        if not _is_address(url):
            raise InputRefused("That is no address.", remedy="Give a public https address.", thing="url")
        try:
            web_of(self._workspace.settings).check(url)
        except InputRefused as refused:
            raise InputRefused(
                in_our_words(refused),
                remedy="Give a public https address.",
                thing="url",
            ) from refused
        row = WebhookRow(id=f"webhook_{secrets.token_hex(8)}", url=url, events=list(wanted), active=True)
        with self._workspace.database.write() as session:
            others = session.scalars(select(WebhookRow)).all()
            if any(other.url == url for other in others):
                raise Conflict("This address is told already.", remedy="Remove it first to change it.", thing="url")
            if len(others) >= MOST:
                raise Conflict(f"There are {MOST} webhooks already.", remedy="Remove one first.", thing="url")
            row.owner = self._workspace.owner or _first_admin(session)
            session.add(row)
            session.flush()
            made = _record(row, {})
        return NewWebhook(made, secret_of(self._workspace, made.id))

    def all(self) -> list[Webhook]:
        """The webhooks, oldest first."""
        with self._workspace.database.read() as session:
            counts: dict[str, dict[str, int]] = {}
            states = select(DeliveryRow.webhook, DeliveryRow.state, func.count())
            for webhook, state, count in session.execute(states.group_by(DeliveryRow.webhook, DeliveryRow.state)):
                counts.setdefault(webhook, {})[state] = count
            rows = session.scalars(select(WebhookRow).order_by(WebhookRow.created_at, WebhookRow.id))
            return [_record(row, counts.get(row.id, {})) for row in rows]

    def get(self, webhook: str) -> Webhook:
        """One of them. NotFound."""
        for one in self.all():
            if one.id == webhook:
                return one
        raise _none(webhook)

    def secret(self, webhook: str) -> str:
        """The secret that its messages are signed with, ``whsec_…``. NotFound."""
        return secret_of(self._workspace, self.get(webhook).id)

    def remove(self, webhook: str) -> Webhook:
        """Forget an address; what waits for it is not delivered. NotFound."""
        gone = self.get(webhook)
        with self._workspace.database.write() as session:
            row = session.get(WebhookRow, gone.id)
            if row is not None:
                session.delete(row)
        return gone

    def set_active(self, webhook: str, active: bool) -> Webhook:
        """Switch an address off or on again; what waited when it was switched off is given up. NotFound."""
        with self._workspace.database.write() as session:
            row = session.get(WebhookRow, webhook)
            if row is None:
                raise _none(webhook)
            row.active = active
            if not active:
                give_up(session, webhook, "The webhook was switched off.")
        return self.get(webhook)

    def deliveries(self, webhook: str, *, limit: int = 50) -> list[Delivery]:
        """The newest messages to an address, and what became of each. NotFound."""
        self.get(webhook)
        with self._workspace.database.read() as session:
            rows = session.execute(
                select(DeliveryRow, EventRow)
                .join(EventRow, EventRow.id == DeliveryRow.event)
                .where(DeliveryRow.webhook == webhook)
                .order_by(DeliveryRow.id.desc())
                .limit(max(1, min(limit, 1_000)))
            ).all()
        return [_delivery(self._workspace, row, event) for row, event in rows]

    def again(self, webhook: str, delivery: int) -> Delivery:
        """Deliver a message once more, from now on as if it were new. NotFound; Conflict: it is switched off."""
        if not self.get(webhook).active:
            raise Conflict("This webhook is switched off.", remedy="Switch it on first.", thing=webhook)
        with self._workspace.database.write() as session:
            row = session.get(DeliveryRow, delivery) if 0 <= delivery <= LARGEST else None
            if row is None or row.webhook != webhook:
                raise NotFound(f"There is no message {delivery}.", remedy="List them.", thing=str(delivery))
            row.state, row.attempts, row.next_at, row.note, row.status = "waiting", 0, now(), "", None
            event = session.get_one(EventRow, row.event)
            session.flush()
            return _delivery(self._workspace, row, event)

    def test(self, webhook: str) -> WebhookTest:
        """Send a signed message of the type ``webhook.test`` now, once, and say what it was answered. NotFound."""
        found = self.get(webhook)
        body = _body("webhook.test", now().isoformat(), {"webhook": found.id})
        message = f"msg_test_{secrets.token_hex(8)}"
        status, note = send(self._workspace, found.id, found.url, message, body, seconds=TEST_SECONDS)
        return WebhookTest(status is not None and 200 <= status < 300, status, note)

    def delivering(self) -> AbstractContextManager[None]:
        """Deliver what waits, and what comes, in a thread of this process until the block ends."""
        from limner.operations.webhooks.delivery import delivering

        return delivering(self._workspace.everyone)


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.scheme in ("https", "http") and parts.port != 0
    except ValueError:
        return False
    return usable and len(url) <= LONGEST_URL and url.isprintable() and " " not in url


def _known(events: Iterable[str]) -> tuple[str, ...]:
    wanted = set(events)
    unknown = sorted(wanted - set(EVENTS))
    if unknown or not wanted:
        raise InputRefused(
            f"'{', '.join(unknown)[:200]}' is no event." if unknown else "A webhook needs an event.",
            remedy=f"Choose from: {', '.join(EVENTS)}.",
            thing="events",
        )
    return tuple(event for event in EVENTS if event in wanted)


def _first_admin(session: Session) -> str | None:
    order = select(UserRow.name).where(UserRow.admin).order_by(UserRow.created_at, UserRow.name)
    return session.scalar(order.limit(1))


def _none(webhook: str) -> NotFound:
    return NotFound(
        f"There is no webhook '{webhook[:80]}'.", remedy="List them: limner webhooks list", thing=webhook[:80]
    )


def _record(row: WebhookRow, counts: dict[str, int]) -> Webhook:
    return Webhook(
        row.id,
        row.url,
        tuple(row.events),
        row.active,
        row.owner or "",
        row.created_at,
        counts.get("waiting", 0),
        counts.get("given-up", 0),
    )


def _delivery(workspace: Workspace, row: DeliveryRow, event: EventRow) -> Delivery:
    return Delivery(
        row.id,
        row.webhook,
        message_id(workspace, event.id),
        event.kind,
        event.job,
        row.state,
        row.attempts,
        row.status,
        row.note,
        event.created_at,
        row.next_at,
    )
