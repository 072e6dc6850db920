"""Images that projects take of their own VMs."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "private_image",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("host_id", sa.Uuid(), nullable=False),
        sa.Column("vm_id", sa.Uuid(), nullable=False),
        sa.Column("disk_id", sa.Uuid(), nullable=False),
        sa.Column("wanted", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("taken_from", sa.String(length=40), nullable=True),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_private_image_host_id"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_private_image_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_private_image"),
        sa.UniqueConstraint("project_id", "name", name="uq_private_image_project_id_name"),
    )
    op.add_column("disk", sa.Column("private_image_id", sa.Uuid(), nullable=True))
    op.create_index("ix_disk_private_image_id", "disk", ["private_image_id"], unique=False)
