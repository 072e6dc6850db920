"""The VMs of a lost host are started elsewhere where all of their disks are: what is proved to be dead writes there no more.

Nothing here looks at hosts. The hosts' rows are locked, so whether the VM's host is still lost is known until the row names
another one; a host that comes back meanwhile is not UP before its twins are ended (`silence.end_twins`, `sweep`).
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Final, NoReturn

import structlog
from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, Placement
from cumulet.disks import Disk, DiskState, DiskType
from cumulet.errors import Invalid
from cumulet.events import EventName
from cumulet.hosts import Away, away, close, move_reservation
from cumulet.reconcile import NotYet, Run
from cumulet.resource import Wanted, log_event
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.create.neighbours import heed_neighbours
from cumulet.vms.moves import choose_target
from cumulet.vms.offers import capacities_for

log = structlog.get_logger()

STAY: Final = "cumulet/stay"
"""A key of its metadata by which a VM's owner has it wait for its host, whatever the value."""
LOCAL: Final = "its disks lie there"
LOOK: Final = 60.0
"""Seconds until a VM that found no room elsewhere looks again."""


def bring_elsewhere(run: Run, seen: Vm, disks: Sequence[Disk], gone: Away, catalogue: Catalogue) -> NoReturn:
    """Have a VM's row name another host than the one that is lost; NotYet, with why not where it stays."""
    if why := why_stays(seen, disks, catalogue):
        raise NotYet(f"{gone.why}; {why}" if why != LOCAL else gone.why, LOOK)
    try:
        with run.database.writing() as db:
            name_another_host(db, run, seen, catalogue)
    except Invalid as refusal:
        raise NotYet(f"its host is lost; {refusal.message}", LOOK) from refusal
    raise NotYet("it is started on another host", 0)


def why_stays(vm: Vm, disks: Sequence[Disk], catalogue: Catalogue) -> str:
    """Say what keeps a VM with its lost host; empty when nothing does."""
    if why := why_disks_stay(vm, disks, catalogue.find_data_center(vm.data_center_id).shared_pools):
        return why
    if any(disk.state is DiskState.CLONE for disk in disks):
        return "an image of it is being captured there"
    if vm.gpus:
        return "its GPUs are there"
    if vm.moving_to is not None:
        return "it was on its way to another one: the move must be aborted first"
    return f"its metadata has {STAY}" if STAY in vm.labels else ""


def why_disks_stay(vm: Vm, disks: Sequence[Disk], shared: AbstractSet[str]) -> str:
    """Say which disk keeps a VM, and what its owner can do about it; empty when all of them are on other hosts as well."""
    made = [disk for disk in disks if disk.is_made]
    local = [disk for disk in made if disk.pool not in shared and disk.host_id == vm.host_id]
    if local and len(local) == len(made):
        return LOCAL
    if local:
        way_on = "" if local[0].type is DiskType.BOOT else " and would have to be detached first"
        return f"its disk {local[0].name!r} lies there{way_on}"
    coming = [disk.name for disk in made if disk.is_coming_to(vm)]
    return f"its disk {coming[0]!r} lies on another one and would have to be detached first" if coming else ""


def name_another_host(db: Session, run: Run, seen: Vm, catalogue: Catalogue) -> None:
    """Choose a host that has all its disks, and have the VM be there in its next term; Invalid when none has room."""
    machine_type = catalogue.find_machine_type(seen.data_center_id, seen.machine_type)
    free = capacities_for(db, machine_type, lock=True)
    free = heed_neighbours(db, seen.project_id, seen.labels, free, vm_id=seen.id, leaving=seen.host_id)
    run.hold(db)  # hosts are locked before due rows, and those before VMs
    vm = db.get_one(Vm, seen.id, with_for_update=True, populate_existing=True)
    lost = away(db, vm.host_id)
    if lost is None or not lost.lost or vm.term != seen.term or vm.wanted is Wanted.DELETED:
        return
    disks = db.scalars(select(Disk).where(Disk.vm_id == vm.id).with_for_update()).all()
    made = [disk for disk in disks if disk.is_made]
    free = close(
        free,
        unless=lambda host: all(host.reaches(vm.host_id, disk.pool) for disk in made),
        why="does not share the VM's disks",
    )
    packed = catalogue.find_data_center(vm.data_center_id).placement is Placement.PACK
    target = choose_target(db, vm, disks, free, machine_type, packed=packed)
    log.warning("a VM of a lost host is started elsewhere", id=str(vm.id), host=target.name)
    vm.host_id, vm.term, vm.started, vm.power_asked_at = target.host_id, vm.term + 1, 0, None
    vm.state = VmState.STOPPED if vm.wanted is Wanted.STOPPED else VmState.STARTING
    move_reservation(db, vm.id, target.host_id)
    for disk in disks:
        disk.host_id = target.host_id
        move_reservation(db, disk.id, target.host_id)
    log_event(db, vm, EventName.VM_MOVED, "its host is lost: moved to another one", now=run.now)
