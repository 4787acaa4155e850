"""Events queued for the webhooks that asked for them."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from limner.store.web_models import DeliveryRow, EventRow, WebhookRow

__all__ = ["queue"]


def queue(session: Session, event: EventRow) -> None:
    """Queue a message for every webhook that wants this event, in the transaction that writes the event."""
    rows = session.scalars(select(WebhookRow).where(WebhookRow.active)).all()
    mine = [row for row in rows if event.kind in row.events and row.owner in (None, event.owner)]
    if mine:
        session.flush()
        session.add_all(DeliveryRow(webhook=row.id, event=event.id) for row in mine)
