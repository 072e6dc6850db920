"""GPUs are reserved for VMs, cleaned between them, and kept from them by their operator."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    with op.batch_alter_table("vm") as vm:
        vm.add_column(sa.Column("gpus", sa.Integer(), nullable=False, server_default="0"))
        vm.add_column(sa.Column("gpu_model_id", sa.String(), nullable=False, server_default=""))
    with op.batch_alter_table("gpu") as gpu:
        gpu.add_column(sa.Column("vm_id", sa.Uuid(), nullable=True))
        gpu.add_column(sa.Column("withdrawn", sa.Boolean(), nullable=False, server_default=sa.false()))
        gpu.add_column(sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
        gpu.add_column(sa.Column("problem", sa.String(), nullable=False, server_default=""))
        gpu.add_column(sa.Column("cleaned_at", sa.DateTime(timezone=True), nullable=True))
        gpu.create_foreign_key("fk_gpu_vm_id", "vm", ["vm_id"], ["id"])
        gpu.create_index("ix_gpu_vm_id", ["vm_id"])
