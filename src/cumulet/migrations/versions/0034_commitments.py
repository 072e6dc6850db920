"""A VM may be committed to a term."""

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    term = sa.Column("commitment_term", sa.String(40), nullable=False, server_default="NONE")
    op.add_column("vm", term)
    op.add_column("vm", sa.Column("commitment_end_time", sa.DateTime(timezone=True), nullable=True))
