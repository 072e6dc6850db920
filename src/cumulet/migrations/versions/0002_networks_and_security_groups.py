"""Networks of the projects' own, security groups, and a rest for external addresses."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step. Cards that are there were given unasked, each the only one of its VM."""
    op.add_column("network", sa.Column("wanted", sa.String(40), nullable=False, server_default="ACTIVE"))
    op.add_column("nic", sa.Column("implicit", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("nic", sa.Column("leads_out", sa.Boolean(), nullable=False, server_default=sa.true()))
    op.add_column("host", sa.Column("routes", sa.JSON(), nullable=False, server_default="[]"))
    op.create_table(
        "cooling_address",
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("data_center_id", "address", name="pk_cooling_address"),
    )
    op.create_table(
        "security_group",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("rules", sa.JSON(), nullable=False),
        sa.Column("in_force", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_security_group_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_security_group"),
        sa.UniqueConstraint("project_id", "name", name="uq_security_group_project_id_name"),
    )
    op.create_table(
        "nic_group",
        sa.Column("nic_id", sa.Uuid(), nullable=False),
        sa.Column("group_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["group_id"], ["security_group.id"], name="fk_nic_group_group_id"),
        sa.ForeignKeyConstraint(["nic_id"], ["nic.id"], name="fk_nic_group_nic_id"),
        sa.PrimaryKeyConstraint("nic_id", "group_id", name="pk_nic_group"),
    )
    op.create_index("ix_nic_group_group_id", "nic_group", ["group_id"], unique=False)
