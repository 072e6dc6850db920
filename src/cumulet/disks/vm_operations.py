"""The verbs of disks that a VM takes part in: showing them, plugging them in and out, and letting them grow."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.db import forget, names_there
from cumulet.disks.accepts import accept_attach, accept_change, accept_detach
from cumulet.disks.allocate import (
    attach,
    disks_of,
    refuse_moved,
    rooms_of,
    set_free,
    take_more_capacity,
    without,
)
from cumulet.disks.model import Disk
from cumulet.disks.plan import check_disk_gib
from cumulet.disks.views import disk_views, holder_of
from cumulet.disks.wire import DiskState, DiskType, ListVmDisksResponse
from cumulet.errors import Invalid, NotFound, Refused
from cumulet.events import EventName
from cumulet.hosts import Capacity, away, lock_hosts, lock_pool
from cumulet.hypervisor import MOST_STORAGE_DISKS
from cumulet.operation import Access, Caller, operation
from cumulet.quotas import lock_allowance
from cumulet.resource import Wanted, find, lock, log_event, log_request
from cumulet.vm_record.accepts import AT_REST
from cumulet.vm_record.find import find_vm, find_vm_to_change
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.wire import Empty

WITH_A_WAY_OUT: Final = AT_REST | {VmState.FAILED}
"""A VM that failed because a disk has gone goes on without it."""


@operation("GET /v1/projects/{projectId}/vms/{id}/disks", access=Access.VIEWER)
def list_vm_disks(db: Session, *, project_id: str, id: str) -> ListVmDisksResponse:
    """List a virtual machine's disks: the boot disk, then the storage disks by id."""
    vm = find_vm(db, project_id=project_id, id=id)
    disks = sorted(disks_of(db, vm.id), key=lambda disk: (disk.type is not DiskType.BOOT, disk.name))
    return ListVmDisksResponse(disks=disk_views(db, disks))


@operation("PATCH /v1/projects/{projectId}/disk/{id}/attach", access=Access.EDITOR)
def attach_storage_disk(
    db: Session, caller: Caller, *, now: datetime, project_id: str, id: str, vm_id: str
) -> Empty:
    """Attach a storage disk to a virtual machine that is running or stopped; its guest finds it by its serial.

    One that lies on another host is brought to the virtual machine's first; `waitingFor` says how far it is.
    """
    seen = find_vm(db, project_id=project_id, id=vm_id)
    pool = find(db, Disk, project_id, id).pool
    host = lock_pool(db, seen.data_center_id, seen.host_id, pool)
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=vm_id)
    accept_disks(vm, AT_REST)
    refuse_moved(vm, host.host_id)
    disk = lock(db, find(db, Disk, project_id, id))
    accept_attach(disk)
    check_reach(db, disk, vm, host)
    check_number(db, vm)
    attach(db, disk, vm.id, host, now=now)
    text = f"attaching disk {disk.name} requested"
    if disk.is_coming_to(vm):
        text += ", which lies on another host and is brought first"
    log_request(db, caller, vm, EventName.VM_DISK_ATTACH_REQUESTED, text, now=now)
    return Empty()


@operation("PUT /v1/projects/{projectId}/disk/{id}/detach", access=Access.EDITOR)
def detach_storage_disk(db: Session, caller: Caller, *, now: datetime, project_id: str, id: str) -> Empty:
    """Detach a storage disk from its virtual machine; a running guest must release it: unmount it there first."""
    seen = find(db, Disk, project_id, id)
    accept_detach(seen)
    holder = holder_of(db, seen)
    host_is_lost = is_lost(db, holder)
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=holder.name)
    disk = lock(db, seen)
    accept_detach(disk)
    no_machine_has_it = vm.moving_to is None and (host_is_lost or disk.is_coming_to(vm))
    if not no_machine_has_it:
        accept_disks(vm, WITH_A_WAY_OUT)
    if disk.wanted is not Wanted.DETACHED:
        disk.wanted = Wanted.DETACHED
        log_request(
            db,
            caller,
            vm,
            EventName.VM_DISK_DETACH_REQUESTED,
            f"detaching disk {disk.name} requested",
            now=now,
        )
        if no_machine_has_it:
            set_free(db, disk, now=now)
            log_event(db, vm, EventName.VM_DISK_DETACHED, f"disk {disk.name} detached", now=now)
    return Empty()


@operation("PATCH /v1/projects/{projectId}/vms/{id}/disks", access=Access.EDITOR)
def resize_vm_disk(
    db: Session,
    caller: Caller,
    *,
    catalogue: Catalogue,
    now: datetime,
    project_id: str,
    id: str,
    disk_id: str,
    size_gib: int,
    validate_only: bool = False,
) -> Empty:
    """Enlarge a disk of a virtual machine; a running guest sees it at once. Disks never shrink.

    With `validateOnly` only check it.
    """
    seen = find_disk_of(db, find_vm(db, project_id=project_id, id=id), disk_id)
    capacity = lock_pool(db, seen.data_center_id, seen.host_id, seen.pool)
    allowance = lock_allowance(db, project_id, catalogue.quotas)
    vm = find_vm_to_change(db, now=now, project_id=project_id, id=id)
    accept_disks(vm, AT_REST)
    disk = lock(db, seen)
    check_disk_gib("sizeGib", size_gib, least=disk.size_gib)
    if size_gib == disk.size_gib:
        return Empty()
    accept_change(disk, "resize")
    allowance.take(db, {"disk_gib": size_gib - disk.size_gib})
    take_more_capacity(db, disk, size_gib - disk.size_gib, capacity)
    text = f"resizing disk {disk.name} from {disk.size_gib} to {size_gib} GiB requested"
    disk.size_gib, disk.state = size_gib, DiskState.LOCKED
    log_request(db, caller, vm, EventName.VM_DISK_RESIZE_REQUESTED, text, now=now, disk_id=disk.name)
    if validate_only:
        forget(db)
    return Empty()


def is_lost(db: Session, vm: Vm) -> bool:
    """Whether a VM's host is lost, and is not back before the transaction ends."""
    gone = away(db, vm.host_id)
    if gone is None or not gone.lost:
        return False
    lock_hosts(db, [vm.host_id])
    gone = away(db, vm.host_id)
    return gone is not None and gone.lost


def accept_disks(vm: Vm, states: frozenset[VmState]) -> None:
    """Return when the VM's disks can be changed; Refused (code 9) otherwise."""
    if vm.state not in states:
        needed = " or ".join(sorted(state.value for state in states))
        message = f"cannot change the disks of VM {vm.name!r}: it is {vm.state.value} and must be {needed}"
        passing = vm.is_passing
        raise Refused(message, reason="VM_NOT_ACTIVE_OR_STOPPED", subject=vm.name, passing=passing)


def check_reach(db: Session, disk: Disk, vm: Vm, host: Capacity) -> None:
    """Refuse a VM on whose host the disk is not and cannot be."""
    if vm.data_center_id != disk.data_center_id:
        accepted = f"a VM in data center {disk.data_center_id!r}, where the disk is"
        raise Invalid.field("vmId", vm.name, accepted)
    if disk.is_made and host.reaches(disk.host_id, disk.pool):
        return
    if disk.is_made and (gone := away(db, disk.host_id) or away(db, vm.host_id)):
        why = f"cannot attach disk {disk.name!r}, which lies on another host than VM {vm.name!r}: {gone.why}"
        raise Refused(why, reason="DISK_NOT_READY", subject=disk.name)
    rooms = rooms_of(db, [disk])
    needed, free = rooms[disk.id], without([disk], rooms, host).free_disk_of(disk.pool)
    if free < needed:
        accepted = f"a VM whose host has {needed} GiB free in pool {disk.pool!r}; on this one's {free} are"
        raise Invalid.field("vmId", vm.name, accepted)


def check_number(db: Session, vm: Vm) -> None:
    """Refuse more storage disks than a machine has room for; that passes when some are just leaving it."""
    storage = select(Disk.wanted).where(Disk.vm_id == vm.id, Disk.type == DiskType.STORAGE)
    wanted = db.scalars(storage).all()
    if len(wanted) >= MOST_STORAGE_DISKS:
        accepted = f"a VM with fewer than {MOST_STORAGE_DISKS} storage disks"
        raise Invalid.field("vmId", vm.name, accepted, passing=Wanted.DETACHED in wanted)


def find_disk_of(db: Session, vm: Vm, name: str) -> Disk:
    """Find a disk that a VM has; NotFound."""
    disk = db.scalar(select(Disk).where(Disk.vm_id == vm.id, Disk.name == name))
    if disk is None:
        theirs = names_there(db, Disk.name, Disk.vm_id == vm.id)
        raise NotFound.named(f"disk of VM {vm.name!r} called", name, theirs)
    return disk
