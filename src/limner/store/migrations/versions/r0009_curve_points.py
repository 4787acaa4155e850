"""The points of a training's curves as rows of their own, so that a new one does not write all of them again."""

from __future__ import annotations

import json

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    points = op.create_table(
        "limner_curve_points",
        sa.Column("training", sa.String(64), nullable=False),
        sa.Column("curve", sa.String(20), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["training"],
            ["limner_trainings.id"],
            name=op.f("fk_limner_curve_points_training_limner_trainings"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("training", "curve", "step", name=op.f("pk_limner_curve_points")),
        sqlite_with_rowid=False,
    )
    trainings = op.get_bind().execute(sa.text("SELECT id, losses, rates FROM limner_trainings")).all()
    for training, losses, rates in trainings:
        for curve, kept in (("loss", losses), ("rate", rates)):
            rows = [
                {"training": training, "curve": curve, "step": int(step), "value": value}
                for step, value in dict(json.loads(kept or "[]")).items()
            ]
            if rows:
                op.bulk_insert(points, rows)
    op.drop_column("limner_trainings", "losses")
    op.drop_column("limner_trainings", "rates")
