"""Disks lie in pools: room is reserved and told by pool, and each disk keeps the price of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

OWN = "local"
"""The pool that the one disk directory of each host has become."""


def upgrade() -> None:
    """Apply this step."""
    op.add_column("disk", sa.Column("pool", sa.String(), nullable=False, server_default=OWN))
    op.add_column("reservation", sa.Column("pool", sa.String(), nullable=False, server_default=""))
    op.execute(sa.text("UPDATE reservation SET pool = :own WHERE disk_gib > 0").bindparams(own=OWN))
    tell_hosts_room_by_pool()
    price_disks()


def tell_hosts_room_by_pool() -> None:
    """Put the one number of each host under its pool."""
    op.execute("ALTER TABLE host RENAME COLUMN disk_gib TO all_gib")
    op.add_column("host", sa.Column("disk_gib", sa.JSON(), nullable=False, server_default="{}"))
    host = sa.table(
        "host", sa.column("id", sa.Uuid()), sa.column("all_gib"), sa.column("disk_gib", sa.JSON())
    )
    for id, all_gib in op.get_bind().execute(sa.select(host.c.id, host.c.all_gib)).all():
        op.execute(sa.update(host).where(host.c.id == id).values(disk_gib={OWN: all_gib}))
    op.drop_column("host", "all_gib")


def price_disks() -> None:
    """Give each disk the price that it has in its VM; one that is free costs what the newest VM there pays."""
    op.add_column("disk", sa.Column("gib_price", sa.String(length=40), nullable=False, server_default="0"))
    op.execute(
        "UPDATE disk SET gib_price = coalesce("
        " (SELECT storage_price FROM vm WHERE vm.id = disk.vm_id),"
        " (SELECT storage_price FROM vm WHERE vm.data_center_id = disk.data_center_id"
        " ORDER BY create_time DESC LIMIT 1), '0')"
    )
    op.drop_column("vm", "storage_price")
