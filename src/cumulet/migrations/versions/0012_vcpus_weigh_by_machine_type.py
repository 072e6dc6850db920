"""Each reservation's vCPUs weigh as its machine type promises them; the next start of the server says how much that is."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column(
        "reservation", sa.Column("vcpus_per_core", sa.Integer(), nullable=False, server_default="1")
    )
