"""It is known whose address somebody vouched for."""

import sqlalchemy as sa
from alembic import op

revision = "0057"
down_revision = "0056"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of who is there already, it counts as vouched for."""
    op.add_column("user", sa.Column("vouched_for", sa.Boolean(), nullable=False, server_default=sa.true()))
