"""What a VM used is found among what all used."""

from alembic import op

revision = "0058"
down_revision = "0057"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the index."""
    op.create_index("ix_usage_record_vm_id", "usage_record", ["vm_id"], unique=False)
