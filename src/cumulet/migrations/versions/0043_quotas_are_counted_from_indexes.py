"""What a project has of VMs, disks and external addresses is counted from indexes alone, by every request that adds some."""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_index("ix_vm_sums", "vm", ["project_id", "vcpus", "memory_gib", "gpus", "gpu_model_id"])
    op.create_index("ix_disk_sums", "disk", ["project_id", "size_gib"])
    op.add_column("external_address", sa.Column("project_id", sa.String(), nullable=True))
    op.execute(
        "UPDATE external_address SET project_id ="
        " (SELECT vm.project_id FROM nic JOIN vm ON vm.id = nic.vm_id WHERE nic.id = external_address.holder_id)"
    )
    op.create_index("ix_external_address_project_id", "external_address", ["project_id"])
