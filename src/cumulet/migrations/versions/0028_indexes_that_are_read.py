"""What is reserved on hosts is summed from an index alone; two indexes that begin others are gone."""

from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.drop_index("ix_reservation_host_id", "reservation")
    op.create_index(
        "ix_reservation_sums",
        "reservation",
        ["host_id", "vcpus_per_core", "pool", "vcpus", "memory_mib", "disk_gib"],
    )
    op.drop_index("ix_vm_project_id", "vm")
    op.drop_index("ix_nic_network_id", "nic")
