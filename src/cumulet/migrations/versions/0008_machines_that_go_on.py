"""When machines that had stalled were let go on."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("vm", sa.Column("resumed_at", sa.DateTime(timezone=True), nullable=True))
