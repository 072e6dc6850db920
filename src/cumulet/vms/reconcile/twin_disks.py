"""What VMs that moved left on a host: disks and seeds whose owner is on another one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from cumulet.disks import Disk
from cumulet.hosts import Host as HostRow
from cumulet.hosts import Orphans
from cumulet.hypervisor import HostUnreachable, HypervisorError
from cumulet.hypervisor import Hypervisor as Host
from cumulet.reconcile import Run
from cumulet.vm_record.model import Vm

log = structlog.get_logger()

ELSEWHERE: Final = "left by a VM that moved"


def remove_twin_disks(
    run: Run,
    host: Host,
    orphans: Orphans,
    *,
    disks: AbstractSet[UUID],
    seeds: AbstractSet[UUID],
    find_host: Callable[[UUID], Host],
) -> None:
    """Remove disks and seeds, found without a row on this host, whose VM is on another one that has the disks."""
    if not disks and not seeds:
        return
    with run.reading() as db:
        disk_owners, seed_owners = hosts_of_disks(db, run.id, disks), hosts_of_vms(db, run.id, seeds)
    left = those_there(disk_owners, lambda host_id: find_host(host_id).disks.list().keys())
    for disk_id in orphans.overdue(f"disk on {run.id} {ELSEWHERE}", left, run.now):
        log.warning("a disk is removed whose VM moved", host=str(run.id), disk=str(disk_id))
        with suppress(HypervisorError):  # a machine of before still has it
            host.disks.remove(disk_id)
    left = those_there(seed_owners, lambda host_id: find_host(host_id).seeds.list())
    for vm_id in orphans.overdue(f"seed on {run.id} {ELSEWHERE}", left, run.now):
        host.consoles.remove_log(vm_id)
        host.seeds.remove(vm_id)


def hosts_of_disks(db: Session, host_id: UUID, disks: AbstractSet[UUID]) -> dict[UUID, UUID]:
    """Say of disks which other host they belong to; not of those that are just coming to this one, or that it shares."""
    shared = db.get_one(HostRow, host_id).shared_pools.keys()
    elsewhere = (
        select(Disk.id, Disk.host_id)
        .outerjoin(Vm, Vm.id == Disk.vm_id)
        .where(Disk.id.in_(disks), Disk.host_id != host_id, Disk.pool.not_in(shared))
        .where(or_(Vm.moving_to.is_(None), Vm.moving_to != host_id))
        .where(or_(Vm.host_id.is_(None), Vm.host_id != host_id))
    )
    return dict(db.execute(elsewhere).all())


def hosts_of_vms(db: Session, host_id: UUID, vms: AbstractSet[UUID]) -> dict[UUID, UUID]:
    """Say of VMs which other host they are on; not of those that are just coming to this one."""
    elsewhere = select(Vm.id, Vm.host_id).where(Vm.id.in_(vms), Vm.host_id != host_id)
    coming = elsewhere.where(or_(Vm.moving_to.is_(None), Vm.moving_to != host_id))
    return dict(db.execute(coming).all())


def those_there(owners: Mapping[UUID, UUID], found: Callable[[UUID], AbstractSet[UUID]]) -> set[UUID]:
    """Those that their own host answers it has: a host that merely got another name keeps all that is on it."""
    there: set[UUID] = set()
    for host_id in set(owners.values()):
        with suppress(HostUnreachable):
            there |= found(host_id) & {id for id, owner in owners.items() if owner == host_id}
    return there
