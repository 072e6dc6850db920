"""Tickets for consoles, and the console logs of VMs that are gone."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "console_ticket",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("vm_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["user.id"], name="fk_console_ticket_user_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("digest", name="pk_console_ticket"),
    )
    op.create_index("ix_console_ticket_expires_at", "console_ticket", ["expires_at"], unique=False)
    op.create_table(
        "kept_console_log",
        sa.Column("vm_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name="fk_kept_console_log_project_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("vm_id", name="pk_kept_console_log"),
    )
    op.create_index("ix_kept_console_log_kept_at", "kept_console_log", ["kept_at"], unique=False)
    op.create_index(
        "ix_kept_console_log_project", "kept_console_log", ["project_id", "kept_at"], unique=False
    )
