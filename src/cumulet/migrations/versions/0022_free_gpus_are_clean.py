"""GPUs that were FREE when nothing cleaned them yet are cleaned before a VM gets them; each look at a host wakes them."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.execute("UPDATE gpu SET state = 'CLEANING' WHERE state = 'FREE' AND cleaned_at IS NULL")
