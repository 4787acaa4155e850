"""Webhooks, and what can be set."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StrictBool

from limner.web.api.schemas.plain import Answer, Body

__all__ = [
    "Delivery",
    "NewWebhook",
    "Setting",
    "SettingChanges",
    "Settings",
    "Webhook",
    "WebhookChange",
    "WebhookSecret",
    "WebhookTest",
    "WebhookWanted",
]


class Webhook(Answer):
    """An address that is told of events. ``active`` false: switched off, by the user or as its server asked."""

    id: str
    url: str
    events: list[str]
    active: bool
    owner: str = ""
    created_at: datetime
    waiting: int = 0
    given_up: int = 0


class WebhookWanted(Body):
    """An address to be told of events: public, and https."""

    url: str = Field(min_length=8, max_length=2_000)
    events: list[Annotated[str, Field(max_length=40)]] = Field(
        default_factory=list, max_length=20, description="Kinds of event; those at the end of a job if left out."
    )


class WebhookChange(Body):
    """Whether an address is told of events; what waited when it is switched off is given up."""

    active: StrictBool


class NewWebhook(Answer):
    """A webhook just added, with the secret that its messages are signed with."""

    webhook: Webhook
    secret: str


class WebhookSecret(Answer):
    """The secret that the messages of a webhook are signed with: ``whsec_…``, of Standard Webhooks."""

    secret: str


class Delivery(Answer):
    """One message to a webhook: ``state`` is waiting, delivered or given-up, ``status`` its last answer's."""

    id: int
    webhook: str
    message: str
    event: str
    job: str
    state: str
    attempts: int
    status: int | None = None
    note: str = ""
    created_at: datetime
    next_at: datetime


class WebhookTest(Answer):
    """What a test message was answered."""

    ok: bool
    status: int | None = None
    note: str = ""


class Setting(Answer):
    """One setting. ``value`` and ``usual`` are as they are typed; ``fixed`` says why it cannot be changed here."""

    name: str
    title: str
    description: str
    group: str
    kind: str
    value: str
    usual: str
    source: str
    fixed: str = ""
    choices: list[str] = Field(default_factory=list)
    restart: bool = False
    variable: str


class Settings(Answer):
    """All settings. ``seen`` is the state of the file that they were read from. ``HOME`` is the home folder."""

    settings: list[Setting]
    file: str
    seen: str


Typed = Annotated[str, Field(max_length=5_000)]
Name = Annotated[str, Field(max_length=60)]


class SettingChanges(Body):
    """Settings to be changed, as they are typed; null for the default. All are changed or none."""

    values: dict[Name, Typed | None] = Field(min_length=1, max_length=100)
    seen: str = Field(default="", max_length=200, description="What was ``seen``: refused if the file changed since.")
