"""A VM has a term, which is raised with each change of its host, and the host that it is being moved to."""

import sqlalchemy as sa
from alembic import op

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No VM has changed its host yet."""
    op.add_column("vm", sa.Column("term", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("vm", sa.Column("moving_to", sa.Uuid(), nullable=True))
