"""VMs and disks can be protected from deletion."""

import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    for table in ("vm", "disk"):
        op.add_column(
            table, sa.Column("deletion_protection", sa.Boolean(), nullable=False, server_default=sa.false())
        )
