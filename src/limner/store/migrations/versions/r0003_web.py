"""The web app: owners, users, sessions, tokens, uploads, grids, votes, events, webhooks, kept answers; favourites."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "limner_answers",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key"),
    )
    op.create_index("ix_limner_answers_created_at", "limner_answers", ["created_at"], unique=False)
    op.create_table(
        "limner_tokens",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("digest"),
    )
    op.create_index("ix_limner_tokens_owner", "limner_tokens", ["owner"], unique=False)
    op.create_table(
        "limner_users",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("admin", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "limner_webhooks",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_limner_webhooks_owner", "limner_webhooks", ["owner"], unique=False)
    op.create_table(
        "limner_caption_edits",
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("subject"),
    )
    op.create_table(
        "limner_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["job"], ["limner_jobs.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_limner_events_job", "limner_events", ["job"], unique=False)
    op.create_index("ix_limner_events_owner", "limner_events", ["owner"], unique=False)
    op.create_table(
        "limner_generation_loras",
        sa.Column("generation", sa.String(length=64), nullable=False),
        sa.Column("lora", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["generation"], ["limner_generations.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("generation", "lora"),
    )
    op.create_index("ix_limner_generation_loras_lora", "limner_generation_loras", ["lora"], unique=False)
    op.create_table(
        "limner_sessions",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("user", sa.String(length=64), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user"], ["limner_users.name"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_index("ix_limner_sessions_expires_at", "limner_sessions", ["expires_at"], unique=False)
    op.create_index("ix_limner_sessions_user", "limner_sessions", ["user"], unique=False)
    op.create_table(
        "limner_uploads",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("batch", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("byte_size", sa.BigInteger(), nullable=False),
        sa.Column("received", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_limner_uploads_batch", "limner_uploads", ["batch"], unique=False)
    op.create_index("ix_limner_uploads_expires_at", "limner_uploads", ["expires_at"], unique=False)
    op.create_index("ix_limner_uploads_job", "limner_uploads", ["job"], unique=False)
    op.create_index("ix_limner_uploads_owner", "limner_uploads", ["owner"], unique=False)
    op.create_index("ix_limner_uploads_subject", "limner_uploads", ["subject"], unique=False)
    op.create_table(
        "limner_deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("webhook", sa.String(length=64), nullable=False),
        sa.Column("event", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["event"], ["limner_events.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["webhook"], ["limner_webhooks.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("webhook", "event"),
    )
    op.create_index("ix_limner_deliveries_state", "limner_deliveries", ["state"], unique=False)
    op.create_index("ix_limner_deliveries_webhook", "limner_deliveries", ["webhook"], unique=False)
    op.create_table(
        "limner_grids",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("training", sa.String(length=64), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("x", sa.JSON(), nullable=False),
        sa.Column("y", sa.JSON(), nullable=False),
        sa.Column("cells", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["training"], ["limner_trainings.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_limner_grids_owner", "limner_grids", ["owner"], unique=False)
    op.create_index("ix_limner_grids_training", "limner_grids", ["training"], unique=False)
    op.create_table(
        "limner_votes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("grid", sa.String(length=64), nullable=False),
        sa.Column("winner", sa.Integer(), nullable=False),
        sa.Column("loser", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["grid"], ["limner_grids.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["loser"], ["limner_images.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["winner"], ["limner_images.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_limner_votes_grid", "limner_votes", ["grid"], unique=False)
    op.add_column("limner_generations", sa.Column("owner", sa.String(length=64), nullable=True))
    op.create_index("ix_limner_generations_owner", "limner_generations", ["owner"], unique=False)
    op.add_column("limner_images", sa.Column("favourite", sa.Boolean(), server_default="0", nullable=False))
    # The gallery counts by these at every look: whole rows would be read for it.
    op.create_index("ix_limner_images_favourite", "limner_images", ["favourite"], unique=False)
    op.create_index("ix_limner_images_generator", "limner_images", ["generator"], unique=False)
    op.add_column("limner_jobs", sa.Column("owner", sa.String(length=64), nullable=True))
    op.create_index("ix_limner_jobs_owner", "limner_jobs", ["owner"], unique=False)
    op.add_column("limner_loras", sa.Column("picked_from", sa.String(length=64), nullable=True))
    op.add_column("limner_loras", sa.Column("step", sa.Integer(), nullable=True))
    op.add_column("limner_loras", sa.Column("card", sa.Text(), server_default="", nullable=False))
    op.create_index("ix_limner_loras_picked_from", "limner_loras", ["picked_from"], unique=False)
    op.add_column("limner_subjects", sa.Column("owner", sa.String(length=64), nullable=True))
    op.create_index("ix_limner_subjects_owner", "limner_subjects", ["owner"], unique=False)
    op.add_column("limner_trainings", sa.Column("rates", sa.JSON(), server_default="[]", nullable=False))
    # What earlier releases drew is found by its loras too.
    op.execute(
        "INSERT OR IGNORE INTO limner_generation_loras (generation, lora) "
        "SELECT g.id, json_extract(l.value, '$.name') FROM limner_generations g, json_each(g.loras) l "
        "WHERE json_extract(l.value, '$.name') IS NOT NULL"
    )
