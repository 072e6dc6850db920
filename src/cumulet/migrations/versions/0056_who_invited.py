"""Who invited somebody is known."""

import sqlalchemy as sa
from alembic import op

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of those who have not accepted yet it is not."""
    op.add_column("invitation", sa.Column("invited_by", sa.Uuid(), nullable=True))
