"""What images start by and whether they have cloud-init, and when a VM's seed lost its secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step; `micro` alone has never had cloud-init, nor have images of its VMs."""
    for table, prefix in (("vm", "image_"), ("private_image", "")):
        firmware = sa.Column(f"{prefix}firmware", sa.String(length=40), nullable=False, server_default="BIOS")
        op.add_column(table, firmware)
        cloud_init: sa.Column[bool] = sa.Column(
            f"{prefix}cloud_init", sa.Boolean(), nullable=False, server_default=sa.true()
        )
        op.add_column(table, cloud_init)
    op.execute(sa.text("UPDATE vm SET image_cloud_init = :no WHERE image_id = 'micro'").bindparams(no=False))
    op.add_column("vm", sa.Column("seed_spent_at", sa.DateTime(timezone=True), nullable=True))
