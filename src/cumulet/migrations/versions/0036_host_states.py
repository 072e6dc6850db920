"""A host has a state that says what its operator asked and whether it answers, since when and why; and labels."""

import sqlalchemy as sa
from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Call hosts that were down silent; what runs there nobody knew then either."""
    op.execute("ALTER TABLE host RENAME COLUMN problem TO why")
    for name in ("boot_id", "reason"):
        op.add_column("host", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.add_column("host", sa.Column("labels", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("host", sa.Column("wanted", sa.String(40), nullable=False, server_default="UP"))
    zoned = sa.DateTime(timezone=True)
    op.add_column("host", sa.Column("unheard_since", zoned, nullable=True))
    op.add_column("host", sa.Column("since", zoned, nullable=False, server_default="2026-01-01 00:00:00+00"))
    op.execute("UPDATE host SET since = seen_at")
    op.execute("UPDATE host SET state = 'SILENT', unheard_since = seen_at WHERE state = 'DOWN'")
