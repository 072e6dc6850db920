"""From disks' rows to JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from cumulet.catalogue import StorageClass
from cumulet.disks.model import Disk
from cumulet.disks.wire import Disk as DiskAnswer
from cumulet.disks.wire import DiskState, DiskType
from cumulet.errors import NotFound
from cumulet.hypervisor import serial_of
from cumulet.reconcile import Due, Kind
from cumulet.resource import Wanted
from cumulet.vm_record import Vm


class DiskRow(NamedTuple):
    """A disk of a VM."""

    vm_name: str
    id: UUID
    name: str
    project_id: str
    data_center_id: str
    size_gib: int
    storage_class: StorageClass
    gib_price: Decimal
    type: DiskType
    private_image_id: UUID | None
    create_time: datetime
    deletion_protection: bool
    wanted: Wanted
    state: DiskState


def api_state(disk: Disk | DiskRow, vm_name: str) -> DiskState:
    """The state as its owner sees it: one that no VM has had yet is ready for any."""
    if disk.wanted is Wanted.DELETED:
        return DiskState.DELETE
    return DiskState.READY if disk.state is DiskState.INIT and not vm_name else disk.state


def disk_view(
    disk: Disk | DiskRow, *, vm_name: str, vm_image_id: str, waiting_for: str = "", problem: str = ""
) -> DiskAnswer:
    """Show a disk beside the VM that has it."""
    image_id = vm_image_id if disk.type is DiskType.BOOT else ""
    return DiskAnswer(
        id=disk.name,
        project_id=disk.project_id,
        data_center_id=disk.data_center_id,
        vm_id=vm_name,
        size_gib=disk.size_gib,
        storage_class=disk.storage_class,
        disk_type=disk.type,
        public_image_id="" if disk.private_image_id else image_id,
        private_image_id=image_id if disk.private_image_id else "",
        create_time=disk.create_time,
        disk_state=api_state(disk, vm_name),
        serial=serial_of(disk.id),
        waiting_for=waiting_for,
        problem=problem,
        deletion_protection=disk.deletion_protection,
    )


def holder_of(db: Session, disk: Disk) -> Vm:
    """Give the VM that has a disk; NotFound when it has just gone."""
    vm = db.get(Vm, disk.vm_id) if disk.vm_id else None
    if vm is None:
        raise NotFound(f"the VM that had disk {disk.name!r} has just been deleted")
    return vm


def disk_views(db: Session, disks: Sequence[Disk]) -> list[DiskAnswer]:
    """Show disks beside the VMs that have them, and what each waits for."""
    vm_ids = {disk.vm_id for disk in disks if disk.vm_id}
    vms = {vm.id: vm for vm in db.execute(select(Vm.id, Vm.name, Vm.image_id).where(Vm.id.in_(vm_ids)))}
    of_vms = and_(Due.kind == Kind.VM, Due.id.in_(vm_ids))
    of_disks = and_(Due.kind == Kind.DISK, Due.id.in_([disk.id for disk in disks if not disk.vm_id]))
    dues = {
        due.id: due for due in db.execute(select(Due.id, Due.why, Due.error).where(or_(of_vms, of_disks)))
    }
    answers = []
    for disk in disks:
        due = dues.get(disk.vm_id or disk.id)
        due_fields = {"waiting_for": due.why, "problem": due.error} if due else {}
        vm = vms[disk.vm_id] if disk.vm_id else None
        of = {"vm_name": vm.name, "vm_image_id": vm.image_id} if vm else {"vm_name": "", "vm_image_id": ""}
        answers.append(disk_view(disk, **of, **due_fields))
    return answers
