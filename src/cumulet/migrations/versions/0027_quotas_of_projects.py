"""A project has quotas of its own, where its operator set some."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("project", sa.Column("quotas", sa.JSON(), nullable=False, server_default="{}"))
