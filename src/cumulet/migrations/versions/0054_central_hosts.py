"""Hosts are chosen that have OVN's databases."""

import sqlalchemy as sa
from alembic import op

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The first look chooses the server's own machine, which has them so far."""
    op.add_column("installation", sa.Column("members", sa.JSON(), nullable=False, server_default="[]"))
    for name in ("central", "is_central"):
        op.add_column("host", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("host", sa.Column("proved_until", sa.DateTime(timezone=True), nullable=True))
