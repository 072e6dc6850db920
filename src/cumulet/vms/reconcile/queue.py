"""Giving room to those that wait for it, in the order in which they came, until their time is over.

PENDING, waiting ──room──▶ PENDING ──▶ STARTING …
       └──its deadline──▶ FAILED
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue
from cumulet.disks import Disk, disks_of, go_to, rooms_of
from cumulet.errors import CumuletError
from cumulet.events import EventName
from cumulet.hosts import Capacity, Requirements
from cumulet.reconcile import Kind, Run, wake
from cumulet.resource import Wanted, log_event
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.create.room import Wish, lock_capacities, take_room, those_before, with_answering_disks
from cumulet.vms.create.rows import Asked, in_line

NET: Final = timedelta(seconds=30)
"""Until the next look while somebody waits and nobody says that room became free."""
WAITING: Final = (
    select(Vm.id, Vm.waits_until)
    .where(Vm.waits_until.is_not(None), Vm.state == VmState.PENDING)
    .order_by(Vm.create_time, Vm.id)
)


def place_waiting(run: Run, catalogue: Catalogue) -> datetime | None:
    """Give those that wait the room that there is; gives when to look again, None when nobody waits.

    Hosts are locked before what is due, so these are transactions of their own: what another run did meanwhile is seen.
    """
    with run.looking() as db:
        ids = [id for id, _ in db.execute(WAITING)]
    for id in ids:
        with run.database.writing() as db:
            place_next(db, catalogue, id, now=run.now)
    with run.reading() as db:
        deadlines = [until for _, until in db.execute(WAITING) if until]
    return min([run.now + NET, *deadlines]) if deadlines else None


def place_next(db: Session, catalogue: Catalogue, vm_id: UUID, *, now: datetime) -> None:
    """Give one its room, or write down its place and what it lacks, or that its time is over."""
    seen = db.get(Vm, vm_id)
    if seen is None or not seen.is_waiting:
        return
    try:
        chosen, asked = find_room(db, catalogue, seen)
    except CumuletError as full:
        keep_waiting(db, seen, full, now=now)
        return
    wake(db, Kind.VM, vm_id, now=now)
    vm = db.get(Vm, vm_id, populate_existing=True, with_for_update=True)
    if vm is not None and vm.is_waiting and vm.wanted is Wanted.ACTIVE:
        enter(db, vm, chosen, asked, now=now)


def find_room(db: Session, catalogue: Catalogue, vm: Vm) -> tuple[Capacity, Asked]:
    """Lock the hosts, and choose one; Invalid, NotFound."""
    machine_type = catalogue.find_machine_type(vm.data_center_id, vm.machine_type)
    wish = Wish(vm.project_id, vm.labels, vm.gpus, vm.id)
    free = lock_capacities(db, catalogue, machine_type, wish)
    boot_disk, *disks = disks_of(db, vm.id)
    asked = Asked(
        vm,
        required_of(vm, boot_disk),
        disks,
        rooms_of(db, disks),
        machine_type,
        catalogue.find_data_center(vm.data_center_id),
    )
    return asked.place(with_answering_disks(db, disks, free)), asked


def required_of(vm: Vm, boot_disk: Disk) -> Requirements:
    """Say what a VM takes of a host with its boot disk."""
    return Requirements(
        vcpus=vm.vcpus,
        memory_mib=vm.memory_gib * 1024,
        disk_gib=boot_disk.size_gib,
        pool=boot_disk.pool,
        gpus=vm.gpus,
    )


def enter(db: Session, vm: Vm, chosen: Capacity, asked: Asked, *, now: datetime) -> None:
    """Give a VM its room on the host that was chosen; its reconciler makes it there."""
    boot_disk, *disks = disks_of(db, vm.id)
    vm.host_id, vm.waits_until, vm.waits_for = chosen.host_id, None, ""
    boot_disk.host_id = chosen.host_id
    db.flush()
    take_room(db, vm, boot_disk, chosen, asked.machine_type, now=now)
    for disk in disks:
        go_to(db, disk, chosen)
    log_event(db, vm, EventName.VM_PLACED, "has its room now", now=now)


def keep_waiting(db: Session, seen: Vm, full: CumuletError, *, now: datetime) -> None:
    """Write down what a VM lacks if that changed, or that it waited in vain."""
    before = those_before(db, seen.data_center_id, seen.id)
    is_over = seen.waits_until is not None and seen.waits_until <= now
    words = f"no room became free in time: {full.message}" if is_over else in_line(len(before) + 1, full)
    if not is_over and words == seen.waits_for:
        return
    vm = db.get(Vm, seen.id, populate_existing=True, with_for_update=True)
    if vm is None or not vm.is_waiting:
        return
    vm.waits_for = words
    if is_over:
        vm.state = VmState.FAILED
        log_event(db, vm, EventName.VM_QUEUE_ENDED, words, now=now)
