"""Changes that were made for requests with an Idempotency-Key, and what was answered to them."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "answered_request",
        sa.Column("key_digest", sa.LargeBinary(32), nullable=False),
        sa.Column("idempotency_key", sa.String(255), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("content", sa.LargeBinary(32), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("salt", sa.LargeBinary(16), nullable=False),
        sa.Column("answer", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_digest"],
            ["api_key.digest"],
            name="fk_answered_request_key_digest",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key_digest", "idempotency_key", name="pk_answered_request"),
    )
    op.create_index("ix_answered_request_at", "answered_request", ["at"])
