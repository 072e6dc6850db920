"""Addresses have numbers beside their words, by which the database finds the highest one that is taken."""

from ipaddress import IPv4Address

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = {"nic": "network_id", "external_address": "data_center_id", "cooling_address": "data_center_id"}
"""Each with what its addresses are one of."""


def upgrade() -> None:
    """Apply this step."""
    for name, of in TABLES.items():
        op.add_column(name, sa.Column("number", sa.BigInteger(), nullable=False, server_default="0"))
        fill(sa.table(name, sa.column("address"), sa.column("number")))
        op.create_index(f"ix_{name}_{of}_number", name, [of, "number"])


def fill(table: sa.TableClause) -> None:
    """Give each address its number."""
    for (address,) in op.get_bind().execute(sa.select(table.c.address).distinct()).all():
        op.execute(
            sa.update(table).where(table.c.address == address).values(number=int(IPv4Address(address)))
        )
