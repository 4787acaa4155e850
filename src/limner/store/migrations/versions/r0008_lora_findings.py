"""What was said of a lora's file, and the file itself where it came as another kind of adapter."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("limner_loras", sa.Column("findings", sa.JSON(), server_default="[]", nullable=False))
    op.add_column("limner_loras", sa.Column("original", sa.String(20), server_default="", nullable=False))
    op.create_table(
        "limner_lora_originals",
        sa.Column("lora", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.ForeignKeyConstraint(
            ["lora"], ["limner_loras.id"], name=op.f("fk_limner_lora_originals_lora_limner_loras"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["digest"], ["limner_blobs.digest"], name=op.f("fk_limner_lora_originals_digest_limner_blobs")
        ),
        sa.PrimaryKeyConstraint("lora", name=op.f("pk_limner_lora_originals")),
    )
    op.create_index(op.f("ix_limner_lora_originals_digest"), "limner_lora_originals", ["digest"])
