"""A VM says how it is being moved: shut down, or while it runs."""

import sqlalchemy as sa
from alembic import op

revision = "0045"
down_revision = "0044"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What is on its way now was shut down for it."""
    with op.batch_alter_table("vm") as vm:
        vm.add_column(sa.Column("move", sa.String(), nullable=True))
    op.execute("UPDATE vm SET move = 'COLD' WHERE moving_to IS NOT NULL")
