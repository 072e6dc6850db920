"""Until when work is held that may have brought a host down."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("due", sa.Column("held_until", sa.DateTime(timezone=True), nullable=True))
