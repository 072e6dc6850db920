"""A browser may be signed in."""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.add_column("api_key", sa.Column("is_session", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("api_key", sa.Column("opened_with", sa.String(63), nullable=True))
    op.create_table(
        "login_ticket",
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("key_id", sa.String(63), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name=op.f("fk_login_ticket_user_id_user"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_login_ticket")),
    )
    op.create_index("ix_login_ticket_expires_at", "login_ticket", ["expires_at"])
