"""A GPU's row tells what a small guest found that was given it."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    with op.batch_alter_table("gpu") as gpu:
        gpu.add_column(sa.Column("proving", sa.Boolean(), nullable=False, server_default=sa.false()))
        gpu.add_column(sa.Column("proved_at", sa.DateTime(timezone=True), nullable=True))
        gpu.add_column(sa.Column("proof", sa.JSON(), nullable=True))
