"""Which VMs of a project share a host, and which must not: by two keys of their metadata, which owners choose values for.

    cumulet/apart=web       no two VMs with this value are ever placed on one host
    cumulet/together=cache  all VMs with this value are placed on one host

Both are strict: what is kept only while there is room would be known to be broken when a host dies, and not before.
They count when a VM is placed or moved; metadata that changes later moves nothing. Those that are together leave a host
that is drained or lost one after the other, for one that has room for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cumulet.hosts import Capacity, close
from cumulet.resource import Wanted
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
    leaving: UUID | None = None,
) -> Sequence[Capacity]:
    """Close the hosts that a VM with this metadata must not lie on, beside others than itself; the hosts are locked.

    `leaving` is a host that all have to leave: who is there still does not keep the VM there.
    """
    if value := metadata.get(APART):
        theirs = {id for pair in _places(db, project_id, APART, value, vm_id) for id in pair}
        why = f"has a VM with {APART}={value}"
        free = close(free, unless=lambda host: host.host_id not in theirs, why=why)
    if value := metadata.get(TOGETHER):
        with_them = {to or at for at, to in _places(db, project_id, TOGETHER, value, vm_id)} - {leaving}
        why = f"has no VM with {TOGETHER}={value}"
        free = close(free, unless=lambda host: not with_them or host.host_id in with_them, why=why)
    return free


def companions(db: Session, vm: Vm) -> Sequence[UUID]:
    """List the VMs on the same host that are to be where this one is, and are not on their way yet."""
    value = vm.labels.get(TOGETHER)
    if not value:
        return ()
    same = _same(vm.project_id, TOGETHER, value)
    theirs = select(Vm.id).where(*same, Vm.id != vm.id, Vm.host_id == vm.host_id)
    return db.scalars(theirs.where(Vm.moving_to.is_(None), Vm.wanted != Wanted.DELETED)).all()


def _places(
    db: Session, project_id: str, key: str, value: str, vm_id: UUID | None
) -> Sequence[tuple[UUID, UUID | None]]:
    """Say of each VM with that value on which host it is, and to which one it moves."""
    same = select(Vm.host_id, Vm.moving_to).where(*_same(project_id, key, value))
    found = db.execute(same if vm_id is None else same.where(Vm.id != vm_id))
    return [(at, to) for at, to in found]


def _same(project_id: str, key: str, value: str) -> tuple[ColumnElement[bool], ...]:
    return (Vm.project_id == project_id, Vm.labels[key].as_string() == value, Vm.waits_until.is_(None))
