"""A NIC of a VM that moves has two hosts where it may be plugged in."""

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None moves yet."""
    op.add_column("nic", sa.Column("hosts", sa.JSON(), nullable=False, server_default="[]"))
