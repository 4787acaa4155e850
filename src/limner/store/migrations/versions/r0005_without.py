"""Places of a generation whose pictures were deleted: going on does not draw or buy them again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("limner_generations", sa.Column("without", sa.JSON(), server_default="[]", nullable=False))
