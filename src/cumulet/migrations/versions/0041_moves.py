"""A disk says in which term of its VM's move it came to be on the other host."""

import sqlalchemy as sa
from alembic import op

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No disk has been moved yet."""
    op.add_column("disk", sa.Column("brought_in_term", sa.Integer(), nullable=False, server_default="0"))
