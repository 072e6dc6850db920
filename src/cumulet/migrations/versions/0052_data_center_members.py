"""Users have roles in data centers."""

import sqlalchemy as sa
from alembic import op

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody has one yet."""
    op.create_table(
        "data_center_member",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("data_center_id", sa.String(63), nullable=False),
        sa.Column("role", sa.String(20), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name=op.f("fk_data_center_member_user_id_user")),
        sa.PrimaryKeyConstraint("user_id", "data_center_id", name=op.f("pk_data_center_member")),
    )
