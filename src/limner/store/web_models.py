"""The rows of the web app and the API: users, sessions, tokens, uploads, grids, events, webhooks and kept answers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from limner.store.models import FIRST_ADMIN, Digest, Ident, Row, Slug, now

__all__ = [
    "AnswerRow",
    "CaptionEditRow",
    "DeliveryRow",
    "ErasedRow",
    "EventRow",
    "GridRow",
    "SessionRow",
    "TokenRow",
    "UploadRow",
    "UserRow",
    "VoteRow",
    "WebhookRow",
]

Name = String(64)


def _owner() -> Any:
    return mapped_column(Name, index=True, default=FIRST_ADMIN)


class ErasedRow(Row):
    """What an erasure said at its end, for whoever has to see to the rest; it goes after some weeks."""

    __tablename__ = "limner_erased"

    id: Mapped[str] = mapped_column(Ident, primary_key=True)
    owner: Mapped[str | None] = _owner()
    subject: Mapped[str] = mapped_column(Slug)
    erased: Mapped[dict[str, Any]]
    left: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class UserRow(Row):
    """Somebody who may log in; ``password`` is an argon2 hash."""

    __tablename__ = "limner_users"

    name: Mapped[str] = mapped_column(Name, primary_key=True)
    password: Mapped[str] = mapped_column(Text)
    admin: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(default=now)


class SessionRow(Row):
    """A browser's session; the key is the SHA-256 of what its cookie holds. ``user`` None: nobody has logged in."""

    __tablename__ = "limner_sessions"

    digest: Mapped[str] = mapped_column(Digest, primary_key=True)
    user: Mapped[str | None] = mapped_column(Name, ForeignKey("limner_users.name", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class TokenRow(Row):
    """An API token, known by the SHA-256 of it; ``scopes`` are read, write, spend, admin."""

    __tablename__ = "limner_tokens"

    id: Mapped[str] = mapped_column(Ident, primary_key=True)
    owner: Mapped[str | None] = _owner()
    name: Mapped[str] = mapped_column(String(100))
    digest: Mapped[str] = mapped_column(Digest, unique=True)
    scopes: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class UploadRow(Row):
    """A file on its way in: ``received`` of ``byte_size`` bytes are in the home's folder ``uploads`` under the id.

    ``batch`` is the set that it was dropped with, ``digest`` what the sender said, ``job`` the intake that took it.
    """

    __tablename__ = "limner_uploads"

    id: Mapped[str] = mapped_column(Ident, primary_key=True)
    owner: Mapped[str | None] = _owner()
    subject: Mapped[str] = mapped_column(Slug, ForeignKey("limner_subjects.slug", ondelete="CASCADE"), index=True)
    batch: Mapped[str] = mapped_column(Ident, index=True)
    position: Mapped[int] = mapped_column(default=0)
    name: Mapped[str] = mapped_column(Text)
    byte_size: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    digest: Mapped[str] = mapped_column(Digest, default="")
    job: Mapped[str] = mapped_column(Ident, default="", index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    expires_at: Mapped[datetime] = mapped_column(index=True)


class CaptionEditRow(Row):
    """The last change of many captions of a subject at once, so that it can be taken back.

    ``before`` and ``after`` are by the photo's digest, ``before`` as [caption, where it came from].
    """

    __tablename__ = "limner_caption_edits"

    subject: Mapped[str] = mapped_column(Slug, ForeignKey("limner_subjects.slug", ondelete="CASCADE"), primary_key=True)
    before: Mapped[dict[str, Any]]
    after: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class GridRow(Row):
    """Pictures of one wish that differ along two axes, to be looked at side by side.

    ``x`` and ``y`` are {"axis", "values"}; ``cells`` are rows of generation ids; ``training`` is set where checkpoints
    of it are compared.
    """

    __tablename__ = "limner_grids"

    id: Mapped[str] = mapped_column(Ident, primary_key=True)
    owner: Mapped[str | None] = _owner()
    training: Mapped[str | None] = mapped_column(
        Ident, ForeignKey("limner_trainings.id", ondelete="CASCADE"), index=True
    )
    prompt: Mapped[str] = mapped_column(Text)
    request: Mapped[dict[str, Any]]
    x: Mapped[dict[str, Any]]
    y: Mapped[dict[str, Any]]
    cells: Mapped[list[Any]]
    created_at: Mapped[datetime] = mapped_column(default=now)


class VoteRow(Row):
    """One picture of a grid was liked better than another; each is named by its image's number."""

    __tablename__ = "limner_votes"

    id: Mapped[int] = mapped_column(primary_key=True)
    grid: Mapped[str] = mapped_column(Ident, ForeignKey("limner_grids.id", ondelete="CASCADE"), index=True)
    winner: Mapped[int] = mapped_column(ForeignKey("limner_images.id", ondelete="CASCADE"), index=True)
    loser: Mapped[int] = mapped_column(ForeignKey("limner_images.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class EventRow(Row):
    """What happened to a job, in the order in which it happened: written with the change itself."""

    __tablename__ = "limner_events"
    # Whoever reads on from an event's number must never meet the number again.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(40))
    job: Mapped[str] = mapped_column(Ident, ForeignKey("limner_jobs.id", ondelete="CASCADE"), index=True)
    owner: Mapped[str | None] = _owner()
    created_at: Mapped[datetime] = mapped_column(default=now)


class WebhookRow(Row):
    """An address that is told of events. Its signing secret is derived from the home's key and is not kept here."""

    __tablename__ = "limner_webhooks"

    id: Mapped[str] = mapped_column(Ident, primary_key=True)
    owner: Mapped[str | None] = _owner()
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[Any]]
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class DeliveryRow(Row):
    """One event on its way to one webhook. ``state`` is waiting, delivered or given-up."""

    __tablename__ = "limner_deliveries"
    __table_args__ = (UniqueConstraint("webhook", "event"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    webhook: Mapped[str] = mapped_column(Ident, ForeignKey("limner_webhooks.id", ondelete="CASCADE"), index=True)
    event: Mapped[int] = mapped_column(ForeignKey("limner_events.id", ondelete="CASCADE"), index=True)
    state: Mapped[str] = mapped_column(String(20), default="waiting", index=True)
    attempts: Mapped[int] = mapped_column(default=0)
    next_at: Mapped[datetime] = mapped_column(default=now)
    status: Mapped[int | None]
    note: Mapped[str] = mapped_column(Text, default="")


class AnswerRow(Row):
    """The answer to a request that came with an idempotency key, kept so that the same wish is done once.

    ``status`` is None while the request is under way.
    """

    __tablename__ = "limner_answers"

    owner: Mapped[str] = mapped_column(Name, primary_key=True, default="")
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    route: Mapped[str] = mapped_column(Text)
    request: Mapped[str] = mapped_column(Digest)
    status: Mapped[int | None]
    headers: Mapped[dict[str, Any]] = mapped_column(default=dict)
    body: Mapped[bytes] = mapped_column(LargeBinary, default=b"")
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
