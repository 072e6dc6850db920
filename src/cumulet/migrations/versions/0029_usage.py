"""What costs says what it costs; usage begins with what is told of a resource from here on."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

PRICES = {"network": "price", "snapshot": "gib_price", "private_image": "gib_price"}


def upgrade() -> None:
    """Keep no event longer for its price: what was told so far lacks some of that."""
    for table, column in PRICES.items():
        op.add_column(table, sa.Column(column, sa.String(40), nullable=False, server_default="0"))
    op.add_column("vm", sa.Column("ipv4_addresses", sa.Integer(), nullable=False, server_default="0"))
    op.execute(
        "UPDATE vm SET ipv4_addresses = (SELECT count(*) FROM nic JOIN external_address"
        " ON external_address.holder_id = nic.id WHERE nic.vm_id = vm.id)"
    )
    op.execute(sa.table("journal", sa.column("bills", sa.Boolean())).update().values(bills=False))
    op.create_table(
        "usage_record",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("resource_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("vm_id", sa.Uuid(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("charges", sa.JSON(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_usage_record"),
    )
    op.create_index("ix_usage_record_project_id_since", "usage_record", ["project_id", "since"])
    op.create_index("ix_usage_record_resource_id", "usage_record", ["resource_id"])
