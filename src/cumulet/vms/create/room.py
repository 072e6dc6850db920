"""Which hosts have room for a VM, and what it takes of the one that is chosen: when it is created, and after it waited.

Nobody overtakes: a host that one of those who wait could go to is closed to whoever came later, whether they wait as
well or ask for a VM at once. So a large one gets its room in the end, however many small ones come meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, bindparam, select, update
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, MachineType
from cumulet.db import fetch_columns
from cumulet.disks import Disk, reserve_disk
from cumulet.errors import Exhausted, NotFound
from cumulet.gpus import Asker, gpu_rooms, hold
from cumulet.hosts import (
    Capacity,
    GpuRoom,
    Host,
    Requirements,
    away,
    capacities,
    capacity_of,
    close,
    has_labels,
    lock_best,
    reserve,
    those_that_fit,
)
from cumulet.plurals import plural
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.create.neighbours import heed_neighbours, heeds_neighbours
from cumulet.vms.create.plan import check_number_of_gpus
from cumulet.vms.offers import capacities_for, for_type

KEPT: Final = "kept for a VM that has waited for room"
WAITING: Final = (
    select(Vm.id, Vm.created_by, Vm.machine_type, Vm.vcpus, Vm.memory_gib, Vm.gpus, Disk.size_gib, Disk.pool)
    .join(Disk, Disk.id == Vm.boot_disk_id)
    .where(
        Vm.data_center_id == bindparam("data_center_id"),
        Vm.waits_until.is_not(None),
        Vm.state == VmState.PENDING,
    )
    .order_by(Vm.create_time, Vm.id)
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A VM that room is looked for, but for its size."""

    project_id: str
    metadata: dict[str, str]
    gpus: int
    vm_id: UUID | None = None
    """None for one that is not there yet: it comes after all that wait."""


def lock_room(
    db: Session,
    catalogue: Catalogue,
    machine_type: MachineType,
    wish: Wish,
    required: Requirements,
    *,
    packed: bool,
    only: UUID | None = None,
) -> Sequence[Capacity]:
    """Lock the best host, or `only` one, for a new VM that takes but numbers of it; for any other, or where there is none, all of them.

    Who locks all does so while another host may be locked already that has just lost its room: two who meet so are a
    ring, which PostgreSQL ends, and one of them begins anew.
    """
    if not (wish.gpus or heeds_neighbours(wish.metadata)):
        best = lock_best(
            db,
            machine_type.data_center_id,
            required,
            vcpus_per_cpu=machine_type.vcpus_per_core,
            labels=machine_type.host_labels,
            packed=packed,
            only=only,
        )
        free = [capacity_of(db, best, vcpus_per_cpu=machine_type.vcpus_per_core)] if best else []
        fitting = those_that_fit(required, for_type(free, machine_type))
        if fitting and not those_before(db, machine_type.data_center_id, wish.vm_id):
            return fitting
    return lock_capacities(db, catalogue, machine_type, wish)


def lock_capacities(
    db: Session, catalogue: Catalogue, machine_type: MachineType, wish: Wish
) -> Sequence[Capacity]:
    """Lock the hosts, and say what each has free for the VM; Invalid when none gives as many GPUs at all."""
    free = capacities_for(db, machine_type, lock=True)
    free = heed_neighbours(db, wish.project_id, wish.metadata, free, vm_id=wish.vm_id)
    free = heed_queue(db, catalogue, machine_type.data_center_id, free, wish.vm_id)
    if not wish.gpus:
        return free
    asker = Asker(wish.project_id)
    return with_gpu_rooms(db, catalogue, machine_type, free, gpus=wish.gpus, asker=asker)


def heed_queue(
    db: Session, catalogue: Catalogue, data_center_id: str, free: Sequence[Capacity], vm_id: UUID | None
) -> Sequence[Capacity]:
    """Close the hosts that those who have waited for longer could go to; the hosts are locked."""
    kept: set[UUID] = set()
    for one in those_before(db, data_center_id, vm_id):
        with suppress(NotFound):  # its machine type is not offered any more: it gets no room
            machine_type = catalogue.find_machine_type(data_center_id, one.machine_type)
            kept |= {host.host_id for host in possible(db, catalogue, machine_type, required_of(one))}
    return close(free, unless=lambda host: host.host_id not in kept, why=KEPT) if kept else free


def those_before(db: Session, data_center_id: str, vm_id: UUID | None) -> Sequence[Row[*tuple[Any, ...]]]:
    """Give the VMs that wait in a data center and come before one; all for one that does not wait."""
    waiting = fetch_columns(db, WAITING, data_center_id=data_center_id)
    ids = [one.id for one in waiting]
    return waiting[: ids.index(vm_id)] if vm_id in ids else waiting


def check_waiting(waiting: Sequence[Row[*tuple[Any, ...]]], user: str, *, most: int) -> None:
    """Refuse one more VM that waits when a user has `most` of these: Exhausted. The hosts are locked."""
    theirs = sum(one.created_by == user for one in waiting)
    if theirs >= most:
        raise Exhausted(
            f"{plural(theirs, 'VM')} of yours wait for room in this data center, the most that one user may have: "
            "create this one once some of them have got theirs, or delete one"
        )


def required_of(one: Row[*tuple[Any, ...]]) -> Requirements:
    """Say what a VM that waits takes of a host."""
    return Requirements(
        vcpus=one.vcpus,
        memory_mib=one.memory_gib * 1024,
        disk_gib=one.size_gib,
        pool=one.pool,
        gpus=one.gpus,
    )


def possible(
    db: Session, catalogue: Catalogue, machine_type: MachineType, required: Requirements
) -> Sequence[Capacity]:
    """Give the hosts that a VM could go to if nothing were on them, those first that take new ones now."""
    whole = capacities(db, machine_type.data_center_id, vcpus_per_cpu=machine_type.vcpus_per_core, empty=True)
    there = [host for host in whole if has_labels(host.labels, machine_type.host_labels)]
    if required.gpus:
        model = catalogue.find_gpu_model(machine_type.gpu_model_id)
        rooms = gpu_rooms(db, catalogue, machine_type.data_center_id, model)
        there = [host for host in there if required.gpus in rooms.get(host.host_id, GpuRoom()).sizes]
    opened = [replace(host, closed="") for host in there]
    fitting = {host.host_id for host in those_that_fit(replace(required, gpus=0), opened)}
    return sorted((host for host in there if host.host_id in fitting), key=lambda host: bool(host.closed))


def with_answering_disks(db: Session, disks: Sequence[Disk], free: Sequence[Capacity]) -> Sequence[Capacity]:
    """Close the hosts to which one of the disks would have to be brought from a host that does not answer."""
    for disk in disks:
        if disk.is_made and away(db, disk.host_id):
            why = f"disk {disk.name!r} lies on another host, which does not answer"
            free = close(free, unless=partial(has_disk, disk), why=why)
    return free


def has_disk(disk: Disk, host: Capacity) -> bool:
    """Whether a disk lies on a host, or in a pool that it shares."""
    return host.reaches(disk.host_id, disk.pool)


def wait_elsewhere(db: Session, host: Host) -> None:
    """Have the VMs that wait for room do so with another host of their data center, for this one goes."""
    another = select(Host.id).where(Host.data_center_id == host.data_center_id, Host.id != host.id).limit(1)
    other = db.scalar(another)
    if other is None:
        return
    waiting = select(Vm.boot_disk_id).where(Vm.host_id == host.id, Vm.waits_until.is_not(None))
    db.execute(update(Disk).where(Disk.id.in_(waiting)).values(host_id=other))
    db.execute(update(Vm).where(Vm.host_id == host.id, Vm.waits_until.is_not(None)).values(host_id=other))


def take_room(
    db: Session, vm: Vm, boot_disk: Disk, chosen: Capacity, machine_type: MachineType, *, now: datetime
) -> None:
    """Reserve for a VM and its boot disk, whose host it is, what they take there."""
    machine = Requirements(project_id=vm.project_id, vcpus=vm.vcpus, memory_mib=vm.memory_gib * 1024)
    reserve(db, vm.id, chosen.host_id, machine, vcpus_per_core=machine_type.vcpus_per_core)
    reserve_disk(db, boot_disk)
    hold(db, vm.id, chosen.gpus_for(vm.gpus), now=now)


def with_gpu_rooms(
    db: Session,
    catalogue: Catalogue,
    machine_type: MachineType,
    free: Sequence[Capacity],
    *,
    gpus: int,
    asker: Asker,
) -> Sequence[Capacity]:
    """Add what locked hosts have of a machine type's GPUs for that many; Invalid when no host gives as many at all."""
    model = catalogue.find_gpu_model(machine_type.gpu_model_id)
    rooms = gpu_rooms(db, catalogue, machine_type.data_center_id, model, asker)
    check_number_of_gpus(gpus, rooms.values())
    none = GpuRoom(model.model_name)
    return [replace(host, gpus=rooms.get(host.host_id, none)) for host in free]
