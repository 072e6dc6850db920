"""A host says which directory it found at each disk pool that it has together with others."""

import sqlalchemy as sa
from alembic import op

revision = "0046"
down_revision = "0045"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No host shared any before."""
    op.add_column("host", sa.Column("shared_pools", sa.JSON(), nullable=False, server_default="{}"))
