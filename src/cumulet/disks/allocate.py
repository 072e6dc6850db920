"""Making, finding, taking and giving back disks, in the transaction of what they are for.

Who locks several things locks hosts first, then what is due, then disks: so nobody waits in a ring.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from cumulet import journal
from cumulet.db import add_row, fetch_copies, rows_of
from cumulet.disks.accepts import accept_attach
from cumulet.disks.model import Disk, Snapshot
from cumulet.disks.wire import DiskState, DiskType
from cumulet.disks.wire import Snapshot as SnapshotAnswer
from cumulet.errors import Invalid, Unavailable
from cumulet.events import EventName, SnapshotData
from cumulet.hosts import (
    Capacity,
    Host,
    Requirements,
    capacities,
    end_second,
    lock_pool,
    move_reservation,
    place_disk,
    release,
    reserve,
    reserve_more_disk,
    reserve_second,
    reserved,
    those_that_fit,
)
from cumulet.hypervisor import MOST_STORAGE_DISKS
from cumulet.projects import Page, fetch_part
from cumulet.reconcile import Kind, wake
from cumulet.resource import Wanted, find, lock, log_event, refuse_taken
from cumulet.vm_record.model import Vm

IN_ORDER: Final = (Disk.type != DiskType.BOOT, Disk.attached_at, Disk.name)
"""The boot disk comes first."""
COPIES_OF_DISKS: Final = select(rows_of(Disk)).where(Disk.vm_id == bindparam("vm_id")).order_by(*IN_ORDER)
SNAPSHOTS_OF_DISK: Final = select(Snapshot).where(Snapshot.disk_id == bindparam("disk_id"))
TOLD_OF_SNAPSHOTS: Final = {
    EventName.SNAPSHOT_CREATED: "taken",
    EventName.SNAPSHOT_DELETE_REQUESTED: "is to be deleted",
    EventName.SNAPSHOT_DELETED: "deleted",
}


def add_disk(db: Session, disk: Disk, *, field: str, actor: str) -> None:
    """Add a disk that `actor` asked for; AlreadyExists names `field` if its name is taken."""
    refuse_taken(db, Disk, disk.project_id, disk.name, field=field)
    add_row(db, disk)
    log_event(
        db,
        disk,
        EventName.DISK_CREATE_REQUESTED,
        f"{disk.size_gib} GiB requested",
        now=disk.create_time,
        actor=actor,
    )


def lock_home(db: Session, disk: Disk) -> UUID:
    """Choose the host on which a new storage disk has its room, and lock it; Invalid (code 3: no capacity) when there is none.

    Others may take of that room before the lock is there: then all hosts are locked, and looked at once more.
    """
    look = partial(capacities, db, disk.data_center_id, vcpus_per_cpu=1)
    best = place_disk(disk.size_gib, look(), pool=disk.pool)
    locked = lock_pool(db, disk.data_center_id, best, disk.pool)
    if those_that_fit(Requirements(disk_gib=disk.size_gib, pool=disk.pool), [locked]):
        return best
    return place_disk(disk.size_gib, look(lock=True), pool=disk.pool)


def home_elsewhere(db: Session, host: Host) -> None:
    """Have storage disks that hold nothing yet, and are no VM's, have their room on other hosts than one that goes; Invalid where there is none."""
    on_it = select(Disk).where(Disk.host_id == host.id, Disk.vm_id.is_(None), Disk.state == DiskState.INIT)
    for disk in db.scalars(on_it.order_by(Disk.id)).all():
        free = capacities(db, host.data_center_id, vcpus_per_cpu=1, lock=True)
        others = [one for one in free if one.host_id != host.id]
        disk.host_id = place_disk(disk.size_gib, others, pool=disk.pool)
        move_reservation(db, disk.id, disk.host_id)
        db.flush()


def reserve_disk(db: Session, disk: Disk) -> None:
    """Take its room on its host."""
    required = Requirements(project_id=disk.project_id, disk_gib=disk.size_gib, pool=disk.pool)
    reserve(db, disk.id, disk.host_id, required)


def remove_disk_rows(db: Session, disk: Disk, *, now: datetime) -> None:
    """Forget a disk with its snapshots, and give its room back."""
    for snapshot in snapshots_of(db, disk.id):
        log_snapshot(db, disk, snapshot, EventName.SNAPSHOT_DELETED, now=now)
    text = "deleted, with its contents and its reserved capacity"
    log_event(db, disk, EventName.DISK_DELETED, text, now=now)
    db.execute(delete(Snapshot).where(Snapshot.disk_id == disk.id))
    db.execute(delete(Disk).where(Disk.id == disk.id))
    release(db, disk.id, now=now)


def log_disk_end(db: Session, disk: Disk, *, now: datetime, actor: str) -> None:
    """Write into the journal that a disk is to go with its snapshots: from now on they cost nothing."""
    for snapshot in snapshots_of(db, disk.id):
        log_snapshot(db, disk, snapshot, EventName.SNAPSHOT_DELETE_REQUESTED, now=now, actor=actor)
    log_event(db, disk, EventName.DISK_DELETE_REQUESTED, "deletion requested", now=now, actor=actor)


def snapshots_of(db: Session, disk_id: UUID) -> Sequence[Snapshot]:
    """Give all snapshots of a disk."""
    return db.scalars(SNAPSHOTS_OF_DISK, {"disk_id": disk_id}).all()


def log_snapshot(
    db: Session,
    disk: Disk,
    snapshot: Snapshot,
    name: EventName,
    *,
    now: datetime,
    actor: str = journal.SYSTEM,
) -> None:
    """Write into the journal what became of a snapshot."""
    data = SnapshotData(
        name=snapshot.name,
        disk_id=disk.name,
        data_center_id=disk.data_center_id,
        size_gib=snapshot.size_gib,
        gib_price=snapshot.gib_price,
    )
    journal.log_event(
        db,
        name,
        at=now,
        project_id=disk.project_id,
        subject_id=snapshot.id,
        text=f"snapshot {snapshot.name} of disk {disk.name} {TOLD_OF_SNAPSHOTS[name]}",
        actor=actor,
        data=data,
    )


def disks_of(db: Session, vm_id: UUID) -> Sequence[Disk]:
    """List a VM's disks in the order in which its guest finds them: the boot disk first."""
    return db.scalars(select(Disk).where(Disk.vm_id == vm_id).order_by(*IN_ORDER)).all()


def copies_of_disks(db: Session, vm_id: UUID) -> Sequence[Disk]:
    """Read the same to look at, and not to write."""
    return fetch_copies(db, Disk, COPIES_OF_DISKS, vm_id=vm_id)


def find_boot_disk(db: Session, vm_id: UUID) -> Disk:
    """Give the disk that a VM boots from."""
    return db.scalars(select(Disk).where(Disk.vm_id == vm_id, Disk.type == DiskType.BOOT)).one()


def find_free_disks(db: Session, project_id: str, names: Sequence[str]) -> Sequence[Disk]:
    """Find storage disks that one new VM can have together; Invalid, Refused otherwise."""
    if len(set(names)) != len(names) or len(names) > MOST_STORAGE_DISKS:
        accepted = f"at most {MOST_STORAGE_DISKS} different disks"
        raise Invalid.field("storageDiskIds", ", ".join(names), accepted)
    with Invalid.reference("storageDiskIds"):
        disks = [lock(db, find(db, Disk, project_id, name)) for name in sorted(names)]
    for disk in disks:
        accept_attach(disk)
    return disks


def home_of(db: Session, project_id: str, names: Sequence[str]) -> UUID | None:
    """Say where the only host is from which these storage disks need not be brought to another; None for any other.

    They have their place there, in pools that it shares with none, and something may have been written to one.
    """
    these = select(Disk.host_id, Disk.state, Disk.pool, Host.shared_pools)
    these = these.join(Host, Host.id == Disk.host_id)
    found = db.execute(these.where(Disk.project_id == project_id, Disk.name.in_(names))).all()
    is_bound = any(state is not DiskState.INIT for _, state, _, _ in found)
    is_shared = any(shared.get(pool) for _, _, pool, shared in found)
    homes = {host_id for host_id, _, _, _ in found}
    return homes.pop() if len(homes) == 1 and is_bound and not is_shared else None


def attach(db: Session, disk: Disk, vm_id: UUID, host: Capacity | None, *, now: datetime) -> None:
    """Let a VM on that host, or on none yet, have the disk; its reconciler makes or brings it, and plugs it."""
    disk.vm_id, disk.attached_at = vm_id, now
    if host:
        go_to(db, disk, host)
    log_event(db, disk, EventName.DISK_ASSIGNED, "is a VM's", now=now)


def go_to(db: Session, disk: Disk, host: Capacity) -> None:
    """Have a disk's place be on that host, where its VM is; one that lies elsewhere has room on both until it is brought."""
    if disk.is_made and not host.reaches(disk.host_id, disk.pool):
        reserve_second(db, disk.id, host.host_id)
    elif disk.host_id != host.host_id:
        disk.host_id = host.host_id
        move_reservation(db, disk.id, host.host_id)


def note_arrival(db: Session, disk: Disk, host_id: UUID, *, now: datetime) -> None:
    """Have a disk be where it was brought; what lies where it was counts no more."""
    disk.host_id = host_id
    end_second(db, disk.id, on=host_id)
    log_event(db, disk, EventName.DISK_MOVED, "moved to its VM's host", now=now)


def rooms_of(db: Session, disks: Sequence[Disk]) -> Mapping[UUID, int]:
    """Say how much room disks have with their snapshots, in GiB."""
    return {disk.id: reserved(db, disk.id).disk_gib for disk in disks}


def refuse_moved(row: Disk | Vm, host_id: UUID) -> None:
    """Return when what is locked is still on the host that was locked before; Unavailable, which passes, otherwise."""
    if row.host_id != host_id:
        text = f"{row.called} {row.name!r} has just been moved to another host: try again"
        raise Unavailable(text, passing=True)


def without(disks: Sequence[Disk], rooms: Mapping[UUID, int], capacity: Capacity) -> Capacity:
    """Give a host's capacity as if those of the disks that have their place there, or in a pool it shares, had none."""
    for disk in disks:
        if capacity.reaches(disk.host_id, disk.pool):
            capacity = capacity.with_more_disk(rooms[disk.id], disk.pool)
    return capacity


def take_more_capacity(db: Session, disk: Disk, gib: int, capacity: Capacity) -> None:
    """Take more of the room in its pool for a disk; Invalid (code 3: no capacity) when there is not as much."""
    refuse_moved(disk, capacity.host_id)
    place_disk(gib, [capacity], pool=disk.pool)
    reserve_more_disk(db, disk.id, gib)


def let_go(db: Session, vm_id: UUID, *, now: datetime, actor: str = journal.SYSTEM) -> None:
    """Have a VM's disks leave it; it keeps them until it is gone. Its boot disk goes with it."""
    for disk in disks_of(db, vm_id):
        disk.wanted = Wanted.DETACHED
        if disk.type is DiskType.BOOT:
            log_disk_end(db, disk, now=now, actor=actor)


def release_disks(db: Session, vm_id: UUID, *, now: datetime) -> None:
    """Forget a VM's boot disk and set its storage disks free; one that is being changed goes on alone."""
    disks = disks_of(db, vm_id)
    for disk in disks:
        if disk.state is DiskState.LOCKED and disk.type is DiskType.STORAGE:
            wake(db, Kind.DISK, disk.id, now=now)
    for disk in disks:
        if disk.type is DiskType.BOOT:
            remove_disk_rows(db, disk, now=now)
        else:
            set_free(db, disk, now=now)


def set_free(db: Session, disk: Disk, *, now: datetime) -> None:
    """Note that a disk has left its VM; one that was still to be brought to it stays where it lies."""
    disk.vm_id, disk.attached_at, disk.wanted = None, None, Wanted.KEPT
    if disk.state is DiskState.USED:
        disk.state = DiskState.READY
    end_second(db, disk.id, on=disk.host_id)
    log_event(db, disk, EventName.DISK_RELEASED, "has left its VM", now=now)


def snapshot_views(db: Session, disk: Disk, page: Page) -> tuple[list[SnapshotAnswer], str]:
    """Show a disk's snapshots, oldest first, and the token of the next page."""
    kept = select(Snapshot).where(Snapshot.disk_id == disk.id, ~Snapshot.deleting)
    found, token = fetch_part(db, kept, page, Snapshot.create_time, Snapshot.name)
    answers = [
        SnapshotAnswer(
            id=snapshot.name,
            active=snapshot.id == disk.snapshot_id,
            size_gib=snapshot.size_gib,
            create_time=snapshot.create_time,
        )
        for snapshot in found
    ]
    return answers, token
