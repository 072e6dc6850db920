"""How many GPUs of which model each host has; its next look tells."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("host", sa.Column("gpus", sa.JSON(), nullable=False, server_default="{}"))
