"""A disk's life as one reconciler, as long as no VM has it; while one has, the VM's reconciler works on it with the same steps."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.disks.allocate import log_snapshot, remove_disk_rows
from cumulet.disks.model import Disk, Snapshot
from cumulet.disks.wire import DiskState
from cumulet.events import EventName
from cumulet.hosts import away, capacities, move_reservation, reserve_more_disk
from cumulet.hypervisor import DiskSpec, HypervisorError
from cumulet.hypervisor import Hypervisor as Host
from cumulet.reconcile import Run
from cumulet.resource import Event, Wanted, change, log_event


def reconcile_disk(run: Run, find_host: Callable[[UUID], Host]) -> None:
    """Bring one disk that no VM has to where its project wants it, from wherever it is now."""
    with run.reading() as db:
        disk = db.get(Disk, run.id)
    if disk is None or disk.vm_id is not None:
        return
    disk = bring_elsewhere(run, disk)
    if disk.wanted is Wanted.DELETED:
        tear_down(run, disk, find_host)
    elif disk.is_made:
        host = find_host(disk.host_id)
        refuse_loss(run, disk, host)
        ensure_contents(run, disk, host)


def bring_elsewhere(run: Run, disk: Disk) -> Disk:
    """Have a disk that lies in a pool which hosts share be another one's when its own is lost."""
    with run.reading() as db:
        gone = away(db, disk.host_id)
    if not disk.is_made or gone is None or not gone.lost:
        return disk
    with run.database.writing() as db:
        hosts = capacities(db, disk.data_center_id, vcpus_per_cpu=1, lock=True)
        run.hold(db)
        row = db.get_one(Disk, disk.id, with_for_update=True)
        there = (host for host in hosts if not host.closed and host.reaches(row.host_id, row.pool))
        if row.vm_id is None and (host := next(there, None)):
            row.host_id = host.host_id
            move_reservation(db, row.id, host.host_id)
    with run.reading() as db:
        return db.get_one(Disk, disk.id)


def ensure_made(run: Run, disk: Disk, host: Host) -> None:
    """Have a storage disk that a VM gets for the first time on the VM's host; one that leaves it unused can move again."""
    if disk.is_made:
        return
    if disk.wanted is Wanted.DETACHED:
        host.disks.remove(disk.id)
        return
    host.disks.create(DiskSpec(id=disk.id, size_gib=disk.size_gib, base=None, pool=disk.pool))
    change(run, disk, {"state": DiskState.READY}, Event(EventName.DISK_CREATED, "created on its host"))


def refuse_loss(run: Run, disk: Disk, host: Host) -> None:
    """Go no further when the disk has gone from its host; an empty one in its place would hide the loss."""
    if disk.id not in host.disks.list():
        where = f"{disk.id} in pool {disk.pool!r}"
        text = f"disk {disk.name!r} ({where}) is missing from its host: restore it, or delete it"
        if disk.state is DiskState.READY:
            change(run, disk, {"state": DiskState.ERROR}, Event(EventName.DISK_LOST, text))
        raise HypervisorError(text, for_owner=text)
    if disk.state is DiskState.ERROR:
        change(run, disk, {"state": DiskState.READY}, Event(EventName.DISK_FOUND, "found again"))


def ensure_contents(run: Run, disk: Disk, host: Host) -> None:
    """Have a disk's size and snapshots as its rows say."""
    if disk.state is not DiskState.LOCKED:
        return
    ensure_snapshots(run, disk, host)
    host.disks.resize(disk.id, disk.size_gib, vm_id=disk.vm_id)
    with run.writing() as db:
        row = db.get_one(Disk, disk.id)
        row.reverting = False
        row.state = disk.state = DiskState.READY if disk.vm_id is None else DiskState.USED
        for snapshot in unsettled_snapshots(db, disk.id):
            settle_snapshot(db, row, snapshot, now=run.now)
        log_event(db, disk, EventName.DISK_CHANGED, "size and snapshots changed as requested", now=run.now)


def settle_snapshot(db: Session, disk: Disk, snapshot: Snapshot, *, now: datetime) -> None:
    """Note that a snapshot was taken, or that it is gone with its room."""
    if snapshot.deleting:
        log_snapshot(db, disk, snapshot, EventName.SNAPSHOT_DELETED, now=now)
        reserve_more_disk(db, snapshot.disk_id, -snapshot.size_gib)
        db.delete(snapshot)
    else:
        snapshot.made = True
        log_snapshot(db, disk, snapshot, EventName.SNAPSHOT_CREATED, now=now)


def ensure_snapshots(run: Run, disk: Disk, host: Host) -> None:
    """Take and remove snapshots, and bring one back, as asked; a disk that goes back has its old size at first."""
    with run.reading() as db:
        snapshots = unsettled_snapshots(db, disk.id)
    for snapshot in snapshots:
        if snapshot.deleting:
            host.disks.remove_snapshot(disk.id, snapshot.id)
        else:
            host.disks.take_snapshot(disk.id, snapshot.id)
    if disk.reverting and disk.snapshot_id:
        host.disks.revert(disk.id, disk.snapshot_id)


def unsettled_snapshots(db: Session, disk_id: UUID) -> list[Snapshot]:
    """Snapshots that are to be taken or to go."""
    unsettled = Snapshot.deleting | ~Snapshot.made
    return list(db.scalars(select(Snapshot).where(Snapshot.disk_id == disk_id, unsettled)))


def tear_down(run: Run, disk: Disk, find_host: Callable[[UUID], Host]) -> None:
    """Remove the disk; its row goes last, with its room. A host that is lost removes it when it is back."""
    with run.reading() as db:
        gone = away(db, disk.host_id)
    if disk.is_made and not (gone and gone.lost):
        find_host(disk.host_id).disks.remove(disk.id)
    with run.writing() as db:
        remove_disk_rows(db, disk, now=run.now)
