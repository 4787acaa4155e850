"""Erasing: what is still to be erased, indexes for letting go of blobs, picture numbers never used twice."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

IMAGES = "id, generation, position, digest, media_type, width, height, seed, seconds, created_at, generator, favourite"
VOTES = "id, grid, winner, loser, created_at"


def upgrade() -> None:
    op.create_table(
        "limner_erasures",
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
    )
    _number_images_once()
    # A blob's row goes only when nothing names it: without these each such look reads whole tables.
    for table in ("photos", "dataset_photos", "checkpoints", "samples", "loras", "images"):
        op.create_index(f"ix_limner_{table}_digest", f"limner_{table}", ["digest"], unique=False)
    op.create_index("ix_limner_deliveries_event", "limner_deliveries", ["event"], unique=False)
    for column in ("winner", "loser"):
        op.create_index(f"ix_limner_votes_{column}", "limner_votes", [column], unique=False)


def _number_images_once() -> None:
    """Make the pictures' table anew with AUTOINCREMENT.

    The votes are made anew with it: dropping a table deletes its rows first, and votes go with their pictures.
    """
    op.create_table(
        "limner_images_new",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("generator", sa.String(length=60), server_default="", nullable=False),
        sa.Column("favourite", sa.Boolean(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["digest"], ["limner_blobs.digest"]),
        sa.ForeignKeyConstraint(["generation"], ["limner_generations.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("generation", "position"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "limner_votes_new",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("grid", sa.String(length=64), nullable=False),
        sa.Column("winner", sa.Integer(), nullable=False),
        sa.Column("loser", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["grid"], ["limner_grids.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["loser"], ["limner_images_new.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["winner"], ["limner_images_new.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(f"INSERT INTO limner_images_new ({IMAGES}) SELECT {IMAGES} FROM limner_images ORDER BY id")  # noqa: S608
    op.execute(f"INSERT INTO limner_votes_new ({VOTES}) SELECT {VOTES} FROM limner_votes ORDER BY id")  # noqa: S608
    op.drop_table("limner_votes")
    op.drop_table("limner_images")
    # A table's new name goes into what refers to it, and the last number given goes along.
    op.rename_table("limner_images_new", "limner_images")
    op.rename_table("limner_votes_new", "limner_votes")
    op.create_index("ix_limner_votes_grid", "limner_votes", ["grid"], unique=False)
    for column in ("generation", "generator", "favourite", "created_at"):
        op.create_index(f"ix_limner_images_{column}", "limner_images", [column], unique=False)
