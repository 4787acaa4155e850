"""Webhooks: addresses that are told of what happens to jobs, and what became of each message."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

__all__ = ["Delivery", "NewWebhook", "Webhook", "WebhookTest"]


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told of events. ``active`` False: switched off, by the user or as its server asked.

    ``waiting`` counts the messages that are still to be delivered, ``given_up`` those that never were.
    """

    id: str
    url: str
    events: tuple[str, ...]
    active: bool
    owner: str
    created_at: datetime
    waiting: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """A webhook just added, with the secret that its messages are signed with: ``whsec_…``."""

    webhook: Webhook
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message to one webhook. ``state`` is ``waiting``, ``delivered`` or ``given-up``.

    ``message`` is its ``webhook-id``, the same in every attempt; ``status`` what the last attempt was answered, None
    if it never was; ``next_at`` when the next one is, where it waits.
    """

    id: int
    webhook: str
    message: str
    event: str
    job: str
    state: str
    attempts: int
    status: int | None
    note: str
    created_at: datetime
    next_at: datetime


@dataclass(frozen=True, slots=True)
class WebhookTest:
    """What a test message was answered: ``ok`` for any 2xx; ``note`` says in words what happened."""

    ok: bool
    status: int | None
    note: str
