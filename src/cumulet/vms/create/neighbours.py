"""Which VMs of a project share a host, and which must not: by two keys of their metadata, which owners choose values for.

    cumulet/apart=web       no two VMs with this value are ever placed on one host
    cumulet/together=cache  all VMs with this value are placed on one host

Both are strict: what is kept only while there is room would be known to be broken when a host dies, and not before.
They count when a VM is placed or moved; metadata that changes later moves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.hosts import Capacity, close
from cumulet.vm_record.model import Vm

APART: Final = "cumulet/apart"
TOGETHER: Final = "cumulet/together"


def heeds_neighbours(metadata: Mapping[str, str]) -> bool:
    """Whether it matters to a VM with this metadata which others are on its host."""
    return not metadata.keys().isdisjoint((APART, TOGETHER))


def heed_neighbours(
    db: Session,
    project_id: str,
    metadata: Mapping[str, str],
    free: Sequence[Capacity],
    *,
    vm_id: UUID | None = None,
) -> Sequence[Capacity]:
    """Close the hosts that a VM with this metadata must not lie on, beside others than itself; the hosts are locked."""
    if value := metadata.get(APART):
        theirs = _hosts_with(db, project_id, APART, value, vm_id)
        why = f"has a VM with {APART}={value}"
        free = close(free, unless=lambda host: host.host_id not in theirs, why=why)
    if value := metadata.get(TOGETHER):
        with_them = _hosts_with(db, project_id, TOGETHER, value, vm_id)
        why = f"has no VM with {TOGETHER}={value}"
        free = close(free, unless=lambda host: not with_them or host.host_id in with_them, why=why)
    return free


def _hosts_with(db: Session, project_id: str, key: str, value: str, vm_id: UUID | None) -> set[UUID]:
    same = select(Vm.host_id).where(
        Vm.project_id == project_id, Vm.labels[key].as_string() == value, Vm.waits_until.is_(None)
    )
    return set(db.scalars(same if vm_id is None else same.where(Vm.id != vm_id)))
