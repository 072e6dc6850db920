"""VMs may wait for room."""

import sqlalchemy as sa
from alembic import op

revision = "0047"
down_revision = "0046"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None waits yet."""
    op.add_column("vm", sa.Column("waits_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("vm", sa.Column("waits_for", sa.String(), nullable=False, server_default=""))
    op.create_index("ix_vm_waits_until", "vm", ["waits_until"])
