"""A host that is drained says whether VMs may be shut down for it, and which stay there and why."""

import sqlalchemy as sa
from alembic import op

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nothing is shut down for a drain that was asked for before."""
    op.add_column(
        "host", sa.Column("drain_restarts", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("host", sa.Column("stays", sa.JSON(), nullable=False, server_default="{}"))
