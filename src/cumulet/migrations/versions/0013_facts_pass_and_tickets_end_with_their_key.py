"""The journal knows which of its facts are to be billed, and a console's ticket by which key it was asked for."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

BILLING = (
    "vm.create_asked", "vm.started", "vm.stopped", "vm.crashed", "vm.resize_asked", "vm.deleted",
    "vm.disk_resize_asked", "vm.snapshot_asked", "vm.disk_lost", "vm.expired",
    "disk.create_asked", "disk.made", "disk.changed", "disk.lost", "disk.deleted",
    "network.create_asked", "network.deleted", "private_image.create_asked", "private_image.deleted",
)  # fmt: skip


def upgrade() -> None:
    """Apply this step; tickets, which are good for five minutes, are asked for anew."""
    op.add_column("journal", sa.Column("bills", sa.Boolean(), nullable=False, server_default=sa.false()))
    fact = sa.table("journal", sa.column("event"), sa.column("bills", sa.Boolean()))
    op.execute(fact.update().where(fact.c.event.in_(BILLING)).values(bills=True))
    op.create_index("ix_journal_bills_at", "journal", ["bills", "at"], unique=False)
    op.execute("DELETE FROM console_ticket")
    op.add_column(
        "console_ticket", sa.Column("key_digest", sa.LargeBinary(32), nullable=False, server_default="")
    )
