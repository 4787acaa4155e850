"""Money: an intent's cost and subject, its line of the ledger; who drew an image; where a lora is hosted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("limner_images", sa.Column("generator", sa.String(length=60), nullable=False, server_default=""))
    # Until now a generation had one generator, which drew all its images.
    op.execute(
        "UPDATE limner_images SET generator = coalesce("
        "(SELECT generator FROM limner_generations WHERE limner_generations.id = limner_images.generation), '')"
    )
    op.add_column("limner_loras", sa.Column("hosted", sa.JSON(), nullable=False, server_default="{}"))

    for column in (
        sa.Column("subject", sa.String(length=64), nullable=True),
        sa.Column("model", sa.String(length=120), nullable=False, server_default=""),
        sa.Column("estimate", sa.Numeric(precision=14, scale=6), nullable=False, server_default="0"),
        sa.Column("note", sa.Text(), nullable=False, server_default=""),
    ):
        op.add_column("limner_intents", column)
    op.create_index("ix_limner_intents_subject", "limner_intents", ["subject"], unique=False)
    op.create_index("ix_limner_intents_state", "limner_intents", ["state"], unique=False)

    op.add_column("limner_ledger", sa.Column("intent", sa.String(length=64), nullable=True))
    op.create_index("ix_limner_ledger_intent", "limner_ledger", ["intent"], unique=True)
    op.create_index("ix_limner_ledger_created_at", "limner_ledger", ["created_at"], unique=False)
