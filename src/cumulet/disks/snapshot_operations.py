"""The verbs of disks' snapshots. They lie in the disk's own file, so no machine may run with the disk meanwhile."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.db import names_there
from cumulet.disks.accepts import accept_change
from cumulet.disks.allocate import log_snapshot, snapshot_views, take_more_capacity
from cumulet.disks.model import Disk, Snapshot
from cumulet.disks.plan import check_disk_id
from cumulet.disks.views import holder_of
from cumulet.disks.wire import CreateDiskSnapshot, DiskState, ListDiskSnapshotsResponse
from cumulet.errors import AlreadyExists, Invalid, NotFound, Refused, Unavailable
from cumulet.events import EventName
from cumulet.hosts import lock_pool
from cumulet.operation import Access, Caller, operation
from cumulet.projects import read_part
from cumulet.quotas import lock_allowance
from cumulet.reconcile import Kind, wake
from cumulet.resource import Wanted, find, lock, log_request
from cumulet.vm_record.find import find_vm_to_change
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.wire import Empty


@operation("GET /v1/projects/{projectId}/disks/{id}/snapshots", access=Access.VIEWER)
def list_disk_snapshots(
    db: Session, *, project_id: str, id: str, page_size: int = 0, page_token: str = ""
) -> ListDiskSnapshotsResponse:
    """List a disk's snapshots, oldest first."""
    page = read_part(page_size, page_token)
    snapshots, token = snapshot_views(db, find(db, Disk, project_id, id), page)
    return ListDiskSnapshotsResponse(snapshots=snapshots, page_token=token)


@operation("POST /v1/projects/{projectId}/disks/{id}/snapshots", access=Access.EDITOR)
def create_disk_snapshot(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    id: str,
    data: CreateDiskSnapshot,
) -> Empty:
    """Take a snapshot of a disk; the virtual machine that has it must be stopped."""
    check_disk_id("snapshotId", data.snapshot_id)
    seen = find(db, Disk, project_id, id)
    capacity = lock_pool(db, seen.data_center_id, seen.host_id, seen.pool)
    allowance = lock_allowance(db, project_id, catalogue.quotas)
    disk, vm = find_disk_to_change(
        db, "take a snapshot of", now=now, project_id=project_id, id=id, vm_id=data.vm_id
    )
    if db.scalar(select(Snapshot.id).where(Snapshot.disk_id == disk.id, Snapshot.name == data.snapshot_id)):
        raise AlreadyExists(f"snapshotId: disk {id!r} already has a snapshot {data.snapshot_id!r}")
    allowance.take(db, {"snapshots": 1})
    take_more_capacity(db, disk, disk.size_gib, capacity)
    snapshot = Snapshot(
        id=uuid4(),
        disk_id=disk.id,
        name=data.snapshot_id,
        size_gib=disk.size_gib,
        gib_price=catalogue.find_data_center(disk.data_center_id).find_pool(disk.pool).snapshot_gib_price_hr,
        create_time=now,
    )
    db.add(snapshot)
    disk.snapshot_id, disk.state = snapshot.id, DiskState.LOCKED
    log_snapshot_request(
        db,
        caller,
        disk,
        vm,
        f"snapshot {data.snapshot_id} of disk {id} requested",
        now=now,
        snapshot_id=data.snapshot_id,
    )
    return Empty()


@operation("DELETE /v1/projects/{projectId}/disks/{id}/snapshots", access=Access.EDITOR)
def delete_disk_snapshot(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, snapshot_id: str, vm_id: str = ""
) -> Empty:
    """Delete a snapshot; the disk's contents stay. The virtual machine that has the disk must be stopped."""
    disk, vm = find_disk_to_change(
        db, "delete a snapshot of", now=now, project_id=project_id, id=id, vm_id=vm_id
    )
    snapshot = find_snapshot(db, disk, snapshot_id)
    snapshot.deleting, disk.state = True, DiskState.LOCKED
    log_snapshot(db, disk, snapshot, EventName.SNAPSHOT_DELETE_REQUESTED, now=now, actor=caller.email)
    log_snapshot_request(
        db,
        caller,
        disk,
        vm,
        f"deleting snapshot {snapshot_id} of disk {id} requested",
        now=now,
        snapshot_id=snapshot_id,
    )
    return Empty()


@operation("POST /v1/projects/{projectId}/disks/{id}/revert", access=Access.EDITOR)
def revert_disk(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, snapshot_id: str, vm_id: str = ""
) -> Empty:
    """Revert a disk to a snapshot; its present contents are lost.

    The virtual machine that has the disk must be stopped. A disk that has grown since keeps its size.
    """
    disk, vm = find_disk_to_change(db, "revert", now=now, project_id=project_id, id=id, vm_id=vm_id)
    snapshot = find_snapshot(db, disk, snapshot_id)
    disk.snapshot_id, disk.reverting, disk.state = snapshot.id, True, DiskState.LOCKED
    if vm is not None and disk.id == vm.boot_disk_id:
        expect_first_boot(vm, snapshot)
    log_snapshot_request(
        db,
        caller,
        disk,
        vm,
        f"reverting disk {id} to snapshot {snapshot_id} requested",
        now=now,
        snapshot_id=snapshot_id,
    )
    return Empty()


def expect_first_boot(vm: Vm, snapshot: Snapshot) -> None:
    """Let a guest that goes back to before its first boot do that again, with all of its seed."""
    if vm.first_boot_at is not None and snapshot.create_time <= vm.first_boot_at:
        vm.first_boot_at = None
    if vm.seed_spent_at is not None and snapshot.create_time <= vm.seed_spent_at:
        vm.seed_spent_at = None


def find_disk_to_change(
    db: Session, what: str, *, now: datetime, project_id: str, id: str, vm_id: str
) -> tuple[Disk, Vm | None]:
    """Find a disk that no machine runs with, and the VM that has it; whichever works on the disk is woken."""
    seen = find(db, Disk, project_id, id)
    vm = None
    if seen.vm_id is None:
        wake(db, Kind.DISK, seen.id, now=now)
    else:
        vm = find_vm_to_change(db, now=now, project_id=project_id, id=holder_of(db, seen).name)
        accept_stopped(vm, seen, what)
    disk = lock(db, seen)
    if disk.vm_id != (vm.id if vm else None):
        raise Unavailable(f"disk {id!r} is being attached or detached: try again", passing=True)
    check_holder(vm, vm_id)
    accept_change(disk, what)
    return disk, vm


def accept_stopped(vm: Vm, disk: Disk, what: str) -> None:
    """Refuse to touch a disk of a VM that is not stopped; that passes when the VM stops or the disk leaves it."""
    if vm.state is not VmState.STOPPED:
        message = f"cannot {what} a disk of VM {vm.name!r}: it is {vm.state.value} and must be STOPPED"
        leaves = disk.wanted is Wanted.DETACHED and not disk.is_going
        passing = leaves or vm.state is VmState.STOPPING
        raise Refused(message, reason="VM_NOT_STOPPED", subject=vm.name, passing=passing)


def check_holder(vm: Vm | None, vm_id: str) -> None:
    """Refuse a VM named by the caller that does not have the disk."""
    if vm_id and (vm is None or vm.name != vm_id):
        accepted = (
            f"{vm.name!r}, the VM that the disk is attached to, or none"
            if vm
            else "none: the disk is attached to no VM"
        )
        raise Invalid.field("vmId", vm_id, accepted)


def find_snapshot(db: Session, disk: Disk, name: str) -> Snapshot:
    """Find a disk's snapshot; NotFound."""
    named = select(Snapshot).where(Snapshot.disk_id == disk.id, Snapshot.name == name, ~Snapshot.deleting)
    snapshot = db.scalar(named)
    if snapshot is None:
        kept = names_there(db, Snapshot.name, Snapshot.disk_id == disk.id, ~Snapshot.deleting)
        raise NotFound.named(f"snapshot of disk {disk.name!r} called", name, kept)
    return snapshot


def log_snapshot_request(
    db: Session, caller: Caller, disk: Disk, vm: Vm | None, text: str, *, now: datetime, snapshot_id: str
) -> None:
    """Log who asked for what, in the timeline of the VM that has the disk, else in the disk's own."""
    if vm is not None:
        more = {"disk_id": disk.name, "snapshot_id": snapshot_id}
        log_request(db, caller, vm, EventName.VM_SNAPSHOT_REQUESTED, text, now=now, **more)
        return
    log_request(db, caller, disk, EventName.DISK_SNAPSHOT_REQUESTED, text, now=now, snapshot_id=snapshot_id)
