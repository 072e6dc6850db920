"""A project may spend so much in a month."""

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let all projects spend what they like, as before."""
    op.add_column("project", sa.Column("spend_limit", sa.String(40), nullable=True))
    op.add_column(
        "project", sa.Column("spend_stops", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("project", sa.Column("spend_told", sa.Integer(), nullable=False, server_default="0"))
