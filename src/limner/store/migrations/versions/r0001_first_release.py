"""All tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "limner_blobs",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("byte_size", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
    )
    op.create_table(
        "limner_generations",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("base", sa.String(length=60), nullable=False),
        sa.Column("generator", sa.String(length=60), nullable=False),
        sa.Column("loras", sa.JSON(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("steps", sa.Integer(), nullable=False),
        sa.Column("guidance", sa.Double(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("limner_generations", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_generations_state"), ["state"], unique=False)

    op.create_table(
        "limner_intents",
        sa.Column("tag", sa.String(length=64), nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("vendor", sa.String(length=60), nullable=False),
        sa.Column("what", sa.String(length=60), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tag"),
    )
    with op.batch_alter_table("limner_intents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_intents_job"), ["job"], unique=False)

    op.create_table(
        "limner_jobs",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("request", sa.JSON(), nullable=False),
        sa.Column("result", sa.JSON(), nullable=True),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("stages", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("limner_jobs", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_jobs_kind"), ["kind"], unique=False)
        batch_op.create_index(batch_op.f("ix_limner_jobs_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_limner_jobs_subject"), ["subject"], unique=False)
        batch_op.create_index(batch_op.f("ix_limner_jobs_target"), ["target"], unique=False)

    op.create_table(
        "limner_ledger",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("vendor", sa.String(length=60), nullable=False),
        sa.Column("what", sa.String(length=60), nullable=False),
        sa.Column("estimated", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column("actual", sa.Numeric(precision=14, scale=6), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("limner_ledger", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_ledger_job"), ["job"], unique=False)
        batch_op.create_index(batch_op.f("ix_limner_ledger_subject"), ["subject"], unique=False)

    op.create_table(
        "limner_subjects",
        sa.Column("slug", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("class_word", sa.String(length=60), nullable=False),
        sa.Column("trigger", sa.String(length=60), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("slug"),
    )
    op.create_table(
        "limner_consents",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("given_by", sa.String(length=200), nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("limner_consents", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_consents_subject"), ["subject"], unique=False)

    op.create_table(
        "limner_datasets",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("resolution", sa.Integer(), nullable=False),
        sa.Column("photos", sa.Integer(), nullable=False),
        sa.Column("manifest", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("digest"),
    )
    with op.batch_alter_table("limner_datasets", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_datasets_subject"), ["subject"], unique=False)

    op.create_table(
        "limner_generation_subjects",
        sa.Column("generation", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["generation"], ["limner_generations.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("generation", "subject"),
    )
    with op.batch_alter_table("limner_generation_subjects", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_generation_subjects_subject"), ["subject"], unique=False)

    op.create_table(
        "limner_images",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["limner_blobs.digest"],
        ),
        sa.ForeignKeyConstraint(["generation"], ["limner_generations.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("generation", "position"),
    )
    with op.batch_alter_table("limner_images", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_images_created_at"), ["created_at"], unique=False)
        batch_op.create_index(batch_op.f("ix_limner_images_generation"), ["generation"], unique=False)

    op.create_table(
        "limner_intakes",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("job", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("photo", sa.String(length=64), nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("job", "position"),
    )
    with op.batch_alter_table("limner_intakes", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_intakes_job"), ["job"], unique=False)
        batch_op.create_index(batch_op.f("ix_limner_intakes_subject"), ["subject"], unique=False)

    op.create_table(
        "limner_photos",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("caption", sa.Text(), nullable=False),
        sa.Column("caption_from", sa.String(length=40), nullable=False),
        sa.Column("crop", sa.JSON(), nullable=True),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["limner_blobs.digest"],
        ),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("subject", "digest"),
    )
    with op.batch_alter_table("limner_photos", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_photos_subject"), ["subject"], unique=False)

    op.create_table(
        "limner_dataset_photos",
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["dataset"], ["limner_datasets.digest"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["limner_blobs.digest"],
        ),
        sa.PrimaryKeyConstraint("dataset", "digest"),
    )
    op.create_table(
        "limner_trainings",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("dataset", sa.String(length=64), nullable=False),
        sa.Column("base", sa.String(length=60), nullable=False),
        sa.Column("trainer", sa.String(length=60), nullable=False),
        sa.Column("recipe", sa.JSON(), nullable=False),
        sa.Column("sample_prompts", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("progress", sa.JSON(), nullable=False),
        sa.Column("losses", sa.JSON(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["dataset"], ["limner_datasets.digest"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("limner_trainings", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_trainings_state"), ["state"], unique=False)
        batch_op.create_index(batch_op.f("ix_limner_trainings_subject"), ["subject"], unique=False)

    op.create_table(
        "limner_checkpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("training", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["limner_blobs.digest"],
        ),
        sa.ForeignKeyConstraint(["training"], ["limner_trainings.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("training", "step"),
    )
    op.create_table(
        "limner_loras",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subject", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("tensor_digest", sa.String(length=64), nullable=False),
        sa.Column("training", sa.String(length=64), nullable=True),
        sa.Column("base", sa.String(length=60), nullable=False),
        sa.Column("naming", sa.String(length=20), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("alpha", sa.Double(), nullable=False),
        sa.Column("modules", sa.Integer(), nullable=False),
        sa.Column("byte_size", sa.BigInteger(), nullable=False),
        sa.Column("trigger", sa.String(length=60), nullable=False),
        sa.Column("header", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["limner_blobs.digest"],
        ),
        sa.ForeignKeyConstraint(["subject"], ["limner_subjects.slug"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["training"], ["limner_trainings.id"], ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("subject", "version"),
        sa.UniqueConstraint("training"),
    )
    with op.batch_alter_table("limner_loras", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_loras_subject"), ["subject"], unique=False)

    op.create_table(
        "limner_samples",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("training", sa.String(length=64), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["digest"],
            ["limner_blobs.digest"],
        ),
        sa.ForeignKeyConstraint(["training"], ["limner_trainings.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("training", "step", "position"),
    )
    op.create_table(
        "limner_publications",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("lora", sa.Integer(), nullable=False),
        sa.Column("hub", sa.String(length=60), nullable=False),
        sa.Column("repo", sa.String(length=200), nullable=False),
        sa.Column("revision", sa.String(length=64), nullable=False),
        sa.Column("visibility", sa.String(length=20), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["lora"], ["limner_loras.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("lora", "hub", "repo", "revision"),
    )
    with op.batch_alter_table("limner_publications", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_limner_publications_lora"), ["lora"], unique=False)
