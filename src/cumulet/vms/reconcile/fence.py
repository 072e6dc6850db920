"""A silent host whose VMs have all their disks in Ceph is cut off from them there: what runs on it writes there no more.

The cluster itself refuses, for good, whoever had a disk open; so this is proof as a power command's word is, and needs
nothing of the host. It is asked of another host, which has the same pools.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import or_, select

from cumulet.catalogue import Catalogue
from cumulet.disks import Disk
from cumulet.hosts import Host as HostRow
from cumulet.hosts import HostState, HostWanted
from cumulet.hypervisor import Hypervisor as Host
from cumulet.hypervisor import HypervisorError
from cumulet.reconcile import Run
from cumulet.resource import Wanted
from cumulet.vm_record.model import Vm
from cumulet.vms.reconcile.backends import Backends
from cumulet.vms.reconcile.silence import give_up, most_answer

log = structlog.get_logger()

FENCE_AFTER: Final = timedelta(seconds=30)
"""How long a host must be SILENT before it is cut off: a network that is plugged in anew needs no proof."""
AT_ONCE: Final = 8
"""Disks: each takes half a second, and a worker's lease is short."""


def ensure_cut_off(run: Run, row: HostRow, backends: Backends) -> None:
    """Have a host that stays silent cut off from all of its VMs' disks, if all of them lie in Ceph, and give it up.

    Never one that its operator works on, nor while more hosts are silent than answer.
    """
    if row.state is not HostState.SILENT or row.is_here or row.wanted is HostWanted.DRAINED:
        return
    if run.now - row.since < FENCE_AFTER:
        return
    vms, disks = what_is_there(run, row.id)
    if not vms or not lie_in_ceph(vms, disks, backends.fabrics.catalogue) or not most_answer(run, row):
        return
    fencers = find_fencers(run, row, {disk.pool for disk in disks}, backends)
    if not any(cut_off(fencer, vms, disks) for fencer in fencers):
        return
    with run.writing() as db:
        found = db.get_one(HostRow, run.id, with_for_update=True, populate_existing=True)
        if set(db.scalars(select(Vm.id).where(Vm.host_id == run.id))) == {vm.id for vm in vms}:
            give_up(db, found, "Ceph lets its machines write no more", now=run.now)


def what_is_there(run: Run, host_id: UUID) -> tuple[Sequence[Vm], Sequence[Disk]]:
    """Give the VMs that a host has, or may have got already, and their disks that are made."""
    with run.reading() as db:
        vms = db.scalars(select(Vm).where(or_(Vm.host_id == host_id, Vm.moving_to == host_id))).all()
        disks = db.scalars(select(Disk).where(Disk.vm_id.in_([vm.id for vm in vms]))).all()
        return vms, [disk for disk in disks if disk.is_made]


def lie_in_ceph(vms: Iterable[Vm], disks: Iterable[Disk], catalogue: Catalogue) -> bool:
    """Whether nothing else of VMs could be written to by two hosts; one on its way is left to whoever moves it."""
    pools = {id for one in catalogue.data_centers for id in one.ceph_pools}
    return all(vm.moving_to is None for vm in vms) and all(disk.pool in pools for disk in disks)


def find_fencers(run: Run, row: HostRow, pools: Iterable[str], backends: Backends) -> list[Host]:
    """List hosts that answer and reach the same pools as a silent one."""
    with run.reading() as db:
        others = db.scalars(select(HostRow).where(HostRow.unheard_since.is_(None), HostRow.id != row.id))
        return [
            backends.hosts[other.id]
            for other in others
            if other.id in backends.hosts and all(shares(row, other, pool) for pool in pools)
        ]


def shares(one: HostRow, other: HostRow, pool: str) -> bool:
    """Whether a pool is the same on two hosts, and the other one reaches it now."""
    same = one.shared_pools.get(pool, "") == other.shared_pools.get(pool)
    return bool(same and other.shared_pools[pool] and other.disk_gib.get(pool))


def cut_off(host: Host, vms: Iterable[Vm], disks: Sequence[Disk]) -> bool:
    """Have Ceph refuse whoever has the disks open; False when that failed, or when nobody has one whose VM may run.

    Who runs and is seen by nobody could still write, when its own line to the cluster is mended.
    """
    ids = [disk.id for disk in disks]
    try:
        with ThreadPoolExecutor(AT_ONCE) as threads:
            open_by = dict(zip(ids, threads.map(host.disks.cut_off, ids), strict=True))
    except HypervisorError as problem:
        log.warning("a silent host could not be cut off from its disks", problem=str(problem))
        return False
    for vm in vms:
        may_run = vm.started or vm.wanted is Wanted.ACTIVE
        if may_run and open_by.get(vm.boot_disk_id) == ():
            log.warning("nobody has the disk open of a VM that may run on a silent host", vm=str(vm.id))
            return False
    return True
