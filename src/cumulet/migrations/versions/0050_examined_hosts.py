"""Hosts keep what their doctor finds, and what is on them that the database has never known."""

import sqlalchemy as sa
from alembic import op

revision = "0050"
down_revision = "0049"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("host", sa.Column("findings", sa.JSON(), nullable=False, server_default="[]"))
    op.add_column("host", sa.Column("examined_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("host", sa.Column("strays", sa.JSON(), nullable=False, server_default="{}"))
