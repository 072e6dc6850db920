"""Partitions in which GPUs can be joined; the next look at each host tells which it has."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "gpu_partition",
        sa.Column("host_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_gpu_partition_host_id"),
        sa.PrimaryKeyConstraint("host_id", "number", name="pk_gpu_partition"),
    )
