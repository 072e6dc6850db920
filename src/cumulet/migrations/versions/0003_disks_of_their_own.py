"""Disks get rows of their own: boot disks move out of their VMs', storage disks and snapshots join them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    make_tables()
    move_boot_disks()
    with op.batch_alter_table("vm") as vm:
        vm.drop_constraint("uq_vm_project_id_boot_disk_name", type_="unique")
        vm.drop_column("boot_disk_name")
        vm.drop_column("boot_disk_gib")
        vm.drop_column("storage_class")


def make_tables() -> None:
    """Make the tables of disks and snapshots."""
    op.create_table(
        "disk",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("host_id", sa.Uuid(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("storage_class", sa.String(length=40), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("wanted", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("vm_id", sa.Uuid(), nullable=True),
        sa.Column("attached_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("snapshot_id", sa.Uuid(), nullable=True),
        sa.Column("reverting", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_disk_host_id"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_disk_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_disk"),
        sa.UniqueConstraint("project_id", "name", name="uq_disk_project_id_name"),
    )
    op.create_index("ix_disk_host_id", "disk", ["host_id"], unique=False)
    op.create_index("ix_disk_vm_id", "disk", ["vm_id"], unique=False)
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("disk_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size_gib", sa.Integer(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("made", sa.Boolean(), nullable=False),
        sa.Column("deleting", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["disk_id"], ["disk.id"], name="fk_snapshot_disk_id"),
        sa.PrimaryKeyConstraint("id", name="pk_snapshot"),
        sa.UniqueConstraint("disk_id", "name", name="uq_snapshot_disk_id_name"),
    )


def move_boot_disks() -> None:
    """Give each boot disk a row and the room that its VM held for it."""
    op.execute("ALTER TABLE reservation RENAME COLUMN vm_id TO holder_id")
    op.execute(
        "INSERT INTO disk (id, project_id, name, type, data_center_id, host_id, size_gib, storage_class,"
        " create_time, wanted, state, vm_id, attached_at, snapshot_id, reverting) "
        "SELECT boot_disk_id, project_id, boot_disk_name, 'BOOT', data_center_id, host_id, boot_disk_gib,"
        " storage_class, create_time, 'KEPT', CASE WHEN started_at IS NULL THEN 'INIT' ELSE 'USED' END,"
        " id, create_time, NULL, false FROM vm"
    )
    op.execute(
        "INSERT INTO reservation (holder_id, host_id, vcpus, memory_mib, disk_gib) "
        "SELECT id, host_id, 0, 0, size_gib FROM disk"
    )
    op.execute("UPDATE reservation SET disk_gib = 0 WHERE holder_id IN (SELECT id FROM vm)")
