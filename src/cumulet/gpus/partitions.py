"""The partitions in which a host's NVSwitches can join GPUs, as its fabric manager last told them.

Which are in use no row says but the GPUs': partitions that overlap have a GPU in common, which one VM holds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import JSON, ForeignKey, bindparam, delete, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from cumulet.db import Row, fetch_columns, insert_row
from cumulet.hosts import Host
from cumulet.hypervisor import GpuPartition as Offered


class GpuPartition(Row):
    """GPUs of a host that can be joined for one VM."""

    __tablename__ = "gpu_partition"

    host_id: Mapped[UUID] = mapped_column(ForeignKey("host.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    """As the host's fabric manager counts them."""
    addresses: Mapped[list[str]] = mapped_column(JSON)


COLUMNS: Final = select(GpuPartition.host_id, GpuPartition.number, GpuPartition.addresses)
OF_HOST: Final = COLUMNS.where(GpuPartition.host_id == bindparam("host_id")).order_by(GpuPartition.number)
OF_DATA_CENTER: Final = COLUMNS.join(Host, Host.id == GpuPartition.host_id).where(
    Host.data_center_id == bindparam("data_center_id")
)


def note_partitions(db: Session, host_id: UUID, found: Sequence[Offered]) -> None:
    """Write down which partitions a host offers; what is as it was costs one statement."""
    known = {row.number: row.addresses for row in fetch_columns(db, OF_HOST, host_id=host_id)}
    offered = {one.number: list(one.addresses) for one in found}
    if known == offered:
        return
    db.execute(delete(GpuPartition).where(GpuPartition.host_id == host_id))
    for number, addresses in offered.items():
        insert_row(db, GpuPartition, host_id=host_id, number=number, addresses=addresses)


def partitions_there(db: Session, data_center_id: str) -> Mapping[UUID, Sequence[frozenset[str]]]:
    """Say by host which GPUs can be joined in a data center, by their addresses."""
    partitions = defaultdict(list)
    for row in fetch_columns(db, OF_DATA_CENTER, data_center_id=data_center_id):
        partitions[row.host_id].append(frozenset(row.addresses))
    return partitions


def partitions_of(db: Session, host_ids: Collection[UUID]) -> Mapping[UUID, Sequence[Offered]]:
    """Give the partitions of some hosts, by their numbers."""
    partitions = defaultdict(list)
    for row in db.execute(COLUMNS.where(GpuPartition.host_id.in_(host_ids)).order_by(GpuPartition.number)):
        partitions[row.host_id].append(Offered(row.number, tuple(row.addresses)))
    return partitions
