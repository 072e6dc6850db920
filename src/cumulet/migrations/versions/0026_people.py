"""Users are invited, suspended and removed; some run the cloud; API keys end, are for one project, or only read."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step; who owned the project `default` ran the cloud, and goes on to."""
    op.add_column("user", sa.Column("state", sa.String(40), nullable=False, server_default="ACTIVE"))
    op.add_column("user", sa.Column("cloud_role", sa.String(40), nullable=False, server_default="NONE"))
    op.execute(
        """UPDATE "user" SET cloud_role = 'OPERATOR' WHERE id IN
        (SELECT user_id FROM membership WHERE project_id = 'default' AND role = 'OWNER')"""
    )
    op.create_table(
        "invitation",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_invitation_user_id"),
        sa.PrimaryKeyConstraint("user_id", name="pk_invitation"),
        sa.UniqueConstraint("digest", name="uq_invitation_digest"),
    )
    with op.batch_alter_table("api_key") as key:
        key.add_column(sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True))
        key.add_column(sa.Column("project_id", sa.String(63), nullable=True))
        key.add_column(sa.Column("reads_only", sa.Boolean(), nullable=False, server_default=sa.false()))
        key.create_foreign_key("fk_api_key_project_id", "project", ["project_id"], ["id"], ondelete="CASCADE")
