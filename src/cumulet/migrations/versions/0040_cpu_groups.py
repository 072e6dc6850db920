"""A host says with which others it has the processor in common."""

import sqlalchemy as sa
from alembic import op

revision = "0040"
down_revision = "0039"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Leave it open until the next look at each host."""
    op.add_column("host", sa.Column("cpu_group", sa.String(), nullable=False, server_default=""))
