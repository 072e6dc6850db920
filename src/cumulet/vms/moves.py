"""Beginning and ending the move of a VM to another host, in the transaction of whoever asks for it.

    begin ──▶ it is off; its disks go, one by one ──▶ its row names the other host ──▶ what is left behind is removed
      └──────── abort: it stays where it is ◀──┘

Room is reserved on both hosts until the end. Its term is raised by each of the two: whoever knows of an earlier one starts
its machine nowhere any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, MachineType, Placement
from cumulet.disks import Disk, DiskState
from cumulet.errors import NotFound, Refused
from cumulet.events import EventName
from cumulet.hosts import (
    Capacity,
    Requirements,
    close,
    end_second,
    no_capacity,
    place,
    reserve_second,
    reserved,
    those_that_fit,
)
from cumulet.reconcile import Kind, wake
from cumulet.resource import Wanted, lock_to_change, log_event
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.create.neighbours import heed_neighbours
from cumulet.vms.create.rows import sizes_of
from cumulet.vms.offers import capacities_for

log = structlog.get_logger()

AT_REST: Final = (DiskState.USED, DiskState.READY, DiskState.INIT)


def begin_move(
    db: Session,
    catalogue: Catalogue,
    seen: Vm,
    *,
    to: str = "",
    restart: bool = False,
    now: datetime,
    actor: str,
) -> Vm:
    """Reserve room for a VM on another host, that of the name `to` or the best one, and have it go there.

    `restart` has one that runs shut down for that and started again. Refused and Invalid (code 3: no capacity) say why not.
    """
    machine_type = catalogue.find_machine_type(seen.data_center_id, seen.machine_type)
    free = capacities_for(
        db, machine_type, lock=True
    )  # hosts are locked before due rows, and those before VMs
    free = heed_neighbours(db, seen.project_id, seen.labels, free, vm_id=seen.id)
    vm = lock_to_change(db, seen, now=now)
    disks = db.scalars(select(Disk).where(Disk.vm_id == vm.id).with_for_update()).all()
    accept_move(vm, disks, restart=restart)
    packed = catalogue.find_data_center(vm.data_center_id).placement is Placement.PACK
    target = choose_target(db, vm, disks, chosen_of(free, vm, to), machine_type, packed=packed)
    for holder_id in (vm.id, *(disk.id for disk in disks)):
        reserve_second(db, holder_id, target.host_id)
    vm.moving_to, vm.term, vm.state = target.host_id, vm.term + 1, VmState.MIGRATING
    log.info("a VM is to move", id=str(vm.id), host=str(vm.host_id), to=target.name)
    text = "move to another host requested"  # which ones these are is for operators
    log_event(db, vm, EventName.VM_MOVE_REQUESTED, text, now=now, actor=actor)
    return vm


def accept_move(vm: Vm, disks: Sequence[Disk], *, restart: bool) -> None:
    """Return when the VM can be moved now; Refused says what keeps it where it is."""
    problem = ""
    if vm.moving_to is not None:
        problem = "it is being moved already"
    elif vm.wanted is Wanted.DELETED or vm.state not in {VmState.STOPPED, VmState.ACTIVE}:
        problem = f"it is {vm.state.value} and must be STOPPED, or ACTIVE with restart"
    elif vm.state is VmState.ACTIVE and not restart:
        problem = "it is ACTIVE: stop it, or have it shut down and started again by restart"
    elif vm.gpus:
        problem = "it has GPUs, which stay on their host"
    elif busy := [disk.name for disk in disks if disk.state not in AT_REST]:
        problem = f"work on its disk {busy[0]!r} is under way"
    if problem:
        raise Refused(f"cannot move VM {vm.name!r}: {problem}", reason="VM_NOT_STOPPED", subject=vm.name)


def chosen_of(free: Sequence[Capacity], vm: Vm, to: str) -> Sequence[Capacity]:
    """Leave the hosts that it may go to; NotFound when there is none of that name."""
    others = close(free, unless=lambda host: host.host_id != vm.host_id, why="the VM is there already")
    if not to:
        return others
    chosen = [host for host in others if host.name == to]
    if not chosen:
        raise NotFound.named("host", to, [host.name for host in free])
    return chosen


def choose_target(
    db: Session,
    vm: Vm,
    disks: Sequence[Disk],
    free: Sequence[Capacity],
    machine_type: MachineType,
    *,
    packed: bool,
) -> Capacity:
    """Choose the host it goes to with all its disks; Invalid (code 3: no capacity) tells why none fits."""
    machine, sizes = reserved(db, vm.id), defaultdict[str, int](int)
    for disk in disks:
        room = reserved(db, disk.id)
        sizes[room.pool] += room.disk_gib
    required = Requirements(
        project_id=vm.project_id, vcpus=machine.vcpus, memory_mib=machine.memory_mib, beside=sizes
    )
    if not those_that_fit(required, free):
        raise no_capacity("VM", required, free, "it stays where it is")
    return place(required, free, sizes=sizes_of(machine_type, disk_gib=0), packed=packed)


def abort_move(db: Session, seen: Vm, *, now: datetime, actor: str) -> Vm:
    """Have a VM stay where it is; Refused when it is not being moved. What has gone over already is removed there."""
    vm = lock_to_change(db, seen, now=now)
    if vm.moving_to is None:
        raise Refused(
            f"VM {vm.name!r} is not being moved", reason="ERROR_REASON_UNSPECIFIED", subject=vm.name
        )
    to = vm.moving_to
    end_reservations(db, vm.id, moved_to=None)
    vm.moving_to, vm.term = None, vm.term + 1
    vm.state = VmState.STOPPED if vm.wanted is Wanted.STOPPED else VmState.STARTING
    log_event(db, vm, EventName.VM_MOVE_ABORTED, "move to another host aborted", now=now, actor=actor)
    wake(db, Kind.HOST, to, now=now)
    return vm


def end_reservations(db: Session, vm_id: UUID, *, moved_to: UUID | None) -> None:
    """Give back the room that a VM and its disks have twice: on the old host when they moved, else on the other."""
    disk_ids = db.scalars(select(Disk.id).where(Disk.vm_id == vm_id)).all()
    for holder_id in (vm_id, *disk_ids):
        end_second(db, holder_id, moved_to=moved_to)
