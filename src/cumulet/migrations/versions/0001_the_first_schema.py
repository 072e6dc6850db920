"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this step."""
    op.create_table(
        "due",
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wakes", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("error", sa.String(), nullable=False),
        sa.Column("overdue", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "id", name="pk_due"),
    )
    op.create_index("ix_due_due_at", "due", ["due_at"], unique=False)
    op.create_table(
        "external_address",
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("holder_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("data_center_id", "address", name="pk_external_address"),
        sa.UniqueConstraint("holder_id", name="uq_external_address_holder_id"),
    )
    op.create_table(
        "host",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("cpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.Column("cpu_model", sa.String(), nullable=False),
        sa.Column("accelerator", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("problem", sa.String(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_host"),
        sa.UniqueConstraint("name", name="uq_host_name"),
    )
    op.create_table(
        "installation",
        sa.Column("one", sa.Integer(), nullable=False),
        sa.Column("id", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("one", name="pk_installation"),
    )
    op.create_table(
        "journal",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("project_id", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        sa.Column("event", sa.String(), nullable=False),
        sa.Column("text", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_journal"),
    )
    op.create_index("ix_journal_subject", "journal", ["subject_id", "id"], unique=False)
    op.create_table(
        "user",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("first_name", sa.String(length=100), nullable=False),
        sa.Column("last_name", sa.String(length=100), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_user"),
        sa.UniqueConstraint("email", name="uq_user_email"),
    )
    op.create_table(
        "api_key",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_api_key_user_id"),
        sa.PrimaryKeyConstraint("user_id", "id", name="pk_api_key"),
        sa.UniqueConstraint("digest", name="uq_api_key_digest"),
    )
    op.create_table(
        "project",
        sa.Column("id", sa.String(length=63), nullable=False),
        sa.Column("billing_account_id", sa.String(length=63), nullable=False),
        sa.Column("created_by", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["user.id"], name="fk_project_created_by"),
        sa.PrimaryKeyConstraint("id", name="pk_project"),
    )
    op.create_table(
        "reservation",
        sa.Column("vm_id", sa.Uuid(), nullable=False),
        sa.Column("host_id", sa.Uuid(), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_mib", sa.Integer(), nullable=False),
        sa.Column("disk_gib", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_reservation_host_id"),
        sa.PrimaryKeyConstraint("vm_id", name="pk_reservation"),
    )
    op.create_index("ix_reservation_host_id", "reservation", ["host_id"], unique=False)
    op.create_table(
        "ssh_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("public_key", sa.String(), nullable=False),
        sa.Column("type", sa.String(length=63), nullable=False),
        sa.Column("fingerprint", sa.String(length=63), nullable=False),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_ssh_key_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_ssh_key"),
    )
    op.create_index("uq_ssh_key_user_fingerprint", "ssh_key", ["user_id", "fingerprint"], unique=True)
    op.create_table(
        "membership",
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=63), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_membership_project_id"),
        sa.ForeignKeyConstraint(["user_id"], ["user.id"], name="fk_membership_user_id"),
        sa.PrimaryKeyConstraint("user_id", "project_id", name="pk_membership"),
    )
    op.create_index("ix_membership_project", "membership", ["project_id"], unique=False)
    op.create_table(
        "router",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=63), nullable=False),
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_router_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_router"),
        sa.UniqueConstraint("project_id", "data_center_id", name="uq_router_project_id_data_center_id"),
    )
    op.create_table(
        "vm",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("machine_type", sa.String(), nullable=False),
        sa.Column("host_id", sa.Uuid(), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(), nullable=False),
        sa.Column("expire_time", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wanted", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("vcpus", sa.Integer(), nullable=False),
        sa.Column("memory_gib", sa.Integer(), nullable=False),
        sa.Column("sockets", sa.Integer(), nullable=False),
        sa.Column("cores", sa.Integer(), nullable=False),
        sa.Column("threads", sa.Integer(), nullable=False),
        sa.Column("image_id", sa.String(), nullable=False),
        sa.Column("image_name", sa.String(), nullable=False),
        sa.Column("image_sha256", sa.String(), nullable=False),
        sa.Column("image_format", sa.String(), nullable=False),
        sa.Column("image_gib", sa.Integer(), nullable=False),
        sa.Column("boot_disk_id", sa.Uuid(), nullable=False),
        sa.Column("boot_disk_name", sa.String(), nullable=False),
        sa.Column("boot_disk_gib", sa.Integer(), nullable=False),
        sa.Column("storage_class", sa.String(length=40), nullable=False),
        sa.Column("metadata", sa.JSON(), nullable=False),
        sa.Column("ssh_key_source", sa.String(length=40), nullable=False),
        sa.Column("ssh_keys", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("start_script", sa.String(), nullable=False),
        sa.Column("vcpu_price", sa.String(length=40), nullable=False),
        sa.Column("memory_price", sa.String(length=40), nullable=False),
        sa.Column("gpu_price", sa.String(length=40), nullable=False),
        sa.Column("storage_price", sa.String(length=40), nullable=False),
        sa.Column("ipv4_price", sa.String(length=40), nullable=False),
        sa.Column("started", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("power_asked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reboots_asked", sa.Integer(), nullable=False),
        sa.Column("reboots_done", sa.Integer(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("agent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("first_boot_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("start_script_status", sa.Integer(), nullable=True),
        sa.Column("guest_silent", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name="fk_vm_host_id"),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_vm_project_id"),
        sa.PrimaryKeyConstraint("id", name="pk_vm"),
        sa.UniqueConstraint("project_id", "boot_disk_name", name="uq_vm_project_id_boot_disk_name"),
        sa.UniqueConstraint("project_id", "name", name="uq_vm_project_id_name"),
    )
    op.create_index("ix_vm_host_id", "vm", ["host_id"], unique=False)
    op.create_index("ix_vm_project_id", "vm", ["project_id"], unique=False)
    op.create_table(
        "network",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("data_center_id", sa.String(), nullable=False),
        sa.Column("router_id", sa.Uuid(), nullable=False),
        sa.Column("range", sa.String(), nullable=False),
        sa.Column("gateway_mac", sa.String(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name="fk_network_project_id"),
        sa.ForeignKeyConstraint(["router_id"], ["router.id"], name="fk_network_router_id"),
        sa.PrimaryKeyConstraint("id", name="pk_network"),
        sa.UniqueConstraint("project_id", "name", name="uq_network_project_id_name"),
    )
    op.create_table(
        "nic",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("vm_id", sa.Uuid(), nullable=False),
        sa.Column("network_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("mac", sa.String(), nullable=False),
        sa.Column("address", sa.String(), nullable=False),
        sa.Column("hostname", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["network_id"], ["network.id"], name="fk_nic_network_id"),
        sa.PrimaryKeyConstraint("id", name="pk_nic"),
        sa.UniqueConstraint("mac", name="uq_nic_mac"),
        sa.UniqueConstraint("network_id", "address", name="uq_nic_network_id_address"),
    )
    op.create_index("ix_nic_network_id", "nic", ["network_id"], unique=False)
    op.create_index("ix_nic_vm_id", "nic", ["vm_id"], unique=False)
