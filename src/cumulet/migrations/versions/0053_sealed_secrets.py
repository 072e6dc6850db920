"""Secrets are sealed in the database, which makes them longer; each start seals those that are not yet.

A server of the version before reads none that this one sealed: while both run, it signs webhooks wrongly and takes no code.
"""

import sqlalchemy as sa
from alembic import op

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The key is in a file, which is the server's to read."""
    with op.batch_alter_table("password") as password:
        password.alter_column("totp_secret", type_=sa.String(), existing_nullable=False)
