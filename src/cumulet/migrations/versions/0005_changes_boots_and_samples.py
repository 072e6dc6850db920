"""What a running guest was told, how its first boot goes, and what machines used."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXTS = ("keys_in_guest", "password_in_guest", "boot_stage", "boot_problems", "boot_log", "panic")


def upgrade() -> None:
    """Apply this step."""
    for name in TEXTS:
        op.add_column("vm", sa.Column(name, sa.String(), nullable=False, server_default=""))
    op.add_column("vm", sa.Column("panic_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE vm SET keys_in_guest = ssh_keys, password_in_guest = password_hash")
    op.create_table(
        "samples",
        sa.Column("vm_id", sa.Uuid(), nullable=False),
        sa.Column("begins", sa.BigInteger(), nullable=False),
        sa.Column("thinned", sa.Boolean(), nullable=False),
        sa.Column("packed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["vm_id"], ["vm.id"], name="fk_samples_vm_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("vm_id", "begins", name="pk_samples"),
    )
    op.create_index("ix_samples_thinned", "samples", ["thinned", "begins"], unique=False)
