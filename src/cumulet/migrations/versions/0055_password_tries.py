"""Wrong passwords are counted for all servers together."""

import sqlalchemy as sa
from alembic import op

revision = "0055"
down_revision = "0054"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """None were yet."""
    op.create_table(
        "password_try",
        sa.Column("place", sa.LargeBinary(32), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("under_way", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("place", name=op.f("pk_password_try")),
    )
    op.create_index("ix_password_try_last_at", "password_try", ["last_at"])
