"""How many GPUs a host has is counted from their rows."""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.drop_column("host", "gpus")
