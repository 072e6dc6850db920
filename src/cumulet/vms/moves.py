"""Beginning and ending the move of a VM to another host, in the transaction of whoever asks for it.

    begin ──▶ it is off; its disks go, one by one ──▶ its row names the other host ──▶ what is left behind is removed
      │ └────── abort: it stays where it is ◀──┘              ▲
      └─▶ it runs; its memory and disks go together ──────────┘
              └─ abort: it is called back, and stays if it has not left

Room is reserved on both hosts until the end. Its term is raised by each of the two: whoever knows of an earlier one starts
its machine nowhere any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, MachineType, Placement
from cumulet.disks import Disk, DiskState, Snapshot, disks_of, refuse_moved
from cumulet.errors import Invalid, NotFound, Refused
from cumulet.events import EventName
from cumulet.gpus import Asker, give_back, gpus_of_vm, hold
from cumulet.hosts import (
    Capacity,
    Host,
    HostWanted,
    Requirements,
    away,
    close,
    end_second,
    lock_hosts,
    no_capacity,
    place,
    reserve_second,
    reserved,
    those_that_fit,
)
from cumulet.networks import steer_nics
from cumulet.reconcile import Kind, wake
from cumulet.resource import Wanted, lock_to_change, log_event
from cumulet.vm_record.model import Move, Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.create.neighbours import companions, heed_neighbours
from cumulet.vms.create.room import with_gpu_rooms
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

    One that runs goes while it runs, or with `restart` is shut down for it and started again. Refused and Invalid (code 3: no capacity) say why not.
    """
    source_id = seen.host_id
    free = lock_way(db, catalogue, seen, to=to, restart=restart)  # hosts before due rows, those before VMs
    vm = lock_to_change(db, seen, now=now)
    refuse_moved(vm, source_id)
    theirs = select(Disk).where(Disk.vm_id == vm.id).with_for_update()
    disks = db.scalars(theirs, execution_options={"populate_existing": True}).all()
    live = accept_move(db, vm, disks, restart=restart)
    target = choose_way(db, catalogue, vm, disks, free, to=to, live=live)
    carried = [disk.id for disk in disks if not target.reaches(vm.host_id, disk.pool)]
    for holder_id in (vm.id, *carried):
        reserve_second(db, holder_id, target.host_id)
    hold(db, vm.id, target.gpus_for(vm.gpus), now=now)
    vm.moving_to, vm.term, vm.state = target.host_id, vm.term + 1, VmState.MIGRATING
    vm.move = Move.LIVE if live else Move.COLD
    if live:
        steer_nics(db, vm.id, [db.get_one(Host, id).name for id in (vm.host_id, target.host_id)])
    log.info("a VM is to move", id=str(vm.id), host=str(vm.host_id), to=target.name)
    text = "move to another host requested"  # which ones these are is for operators
    log_event(db, vm, EventName.VM_MOVE_REQUESTED, text, now=now, actor=actor)
    return vm


def lock_way(db: Session, catalogue: Catalogue, seen: Vm, *, to: str, restart: bool) -> Sequence[Capacity]:
    """Lock a VM's host and the one that it would go to, and say what they have free for it; others are placed on the rest meanwhile.

    All are locked where these two do not do any more, and where it takes room in a pool that others share. Refused and
    Invalid say why it stays.
    """
    disks = disks_of(db, seen.id)
    live = accept_move(db, seen, disks, restart=restart)
    look = partial(free_for, db, catalogue, seen)
    choose = partial(choose_way, db, catalogue, seen, disks, to=to, live=live)
    target = choose(look())
    if all(target.reaches(seen.host_id, disk.pool) or disk.pool not in target.shared_with for disk in disks):
        way = {seen.host_id, target.host_id}
        lock_hosts(db, way)
        both = [host for host in look() if host.host_id in way]
        with suppress(Invalid):
            choose(both)
            return both
    return look(lock=True)


def free_for(db: Session, catalogue: Catalogue, vm: Vm, *, lock: bool = False) -> Sequence[Capacity]:
    """Say what each host has free for a VM that is to move, and which are closed to it."""
    machine_type = catalogue.find_machine_type(vm.data_center_id, vm.machine_type)
    free = capacities_for(db, machine_type, lock=lock)
    wanted = db.scalar(select(Host.wanted).where(Host.id == vm.host_id))
    leaving = vm.host_id if wanted is HostWanted.DRAINED else None
    free = heed_neighbours(db, vm.project_id, vm.labels, free, vm_id=vm.id, leaving=leaving)
    if not vm.gpus:
        return free
    asker = Asker(vm.project_id)
    return with_gpu_rooms(db, catalogue, machine_type, free, gpus=vm.gpus, asker=asker)


def choose_way(
    db: Session,
    catalogue: Catalogue,
    vm: Vm,
    disks: Sequence[Disk],
    free: Sequence[Capacity],
    *,
    to: str,
    live: bool,
) -> Capacity:
    """Choose the host that a VM moves to, that of the name `to` or the best one; Invalid tells why there is none."""
    possible = chosen_of(like_its_own(free, vm) if live else free, vm, to)
    machine_type = catalogue.find_machine_type(vm.data_center_id, vm.machine_type)
    packed = catalogue.find_data_center(vm.data_center_id).placement is Placement.PACK
    return choose_target(db, vm, disks, possible, machine_type, packed=packed)


def accept_move(db: Session, vm: Vm, disks: Sequence[Disk], *, restart: bool) -> bool:
    """Say whether the VM moves while it runs; Refused says what keeps it where it is."""
    accept_any_move(db, vm, disks)
    live = vm.state is VmState.ACTIVE and not restart
    if live:
        accept_live_move(db, vm, disks)
    return live


def accept_any_move(db: Session, vm: Vm, disks: Sequence[Disk]) -> None:
    """Return when the VM can be moved now, at least by a restart; Refused otherwise."""
    problem = ""
    if vm.moving_to is not None:
        problem = "it is being moved already"
    elif gone := away(db, vm.host_id):
        problem = gone.why
    elif vm.wanted is Wanted.DELETED or vm.state not in {VmState.STOPPED, VmState.ACTIVE}:
        problem = f"it is {vm.state.value} and must be STOPPED or ACTIVE"
    elif busy := [disk.name for disk in disks if disk.state not in AT_REST]:
        problem = f"work on its disk {busy[0]!r} is under way"
    elif coming := [disk.name for disk in disks if disk.is_coming_to(vm)]:
        problem = f"its disk {coming[0]!r} is still being brought to it"
    if problem:
        raise Refused(f"cannot move VM {vm.name!r}: {problem}", reason="VM_NOT_STOPPED", subject=vm.name)


def accept_live_move(db: Session, vm: Vm, disks: Sequence[Disk]) -> None:
    """Return when the VM can be moved while it runs; Refused says what keeps it, and that it can be by a restart."""
    problem = ""
    if vm.gpus:
        problem = "it has GPUs"
    elif vm.reboot_pending:
        problem = "it is being restarted"
    elif kept := db.scalars(
        select(Disk.name)
        .join(Snapshot, Snapshot.disk_id == Disk.id)
        .where(Disk.id.in_([disk.id for disk in disks]))
    ).first():
        problem = f"its disk {kept!r} has snapshots"
    if problem:
        raise Refused(
            f"cannot move VM {vm.name!r} while it runs: {problem}; with restart it is shut down, moved, and started again",
            reason="VM_NOT_STOPPED",
            subject=vm.name,
        )


def with_shared_disks(
    db: Session, vm: Vm, disks: Sequence[Disk], free: Sequence[Capacity]
) -> Sequence[Capacity]:
    """Give what hosts have free for a VM with its disks: those in a pool that its host shares with one have their room there."""
    for disk in disks:
        room = reserved(db, disk.id)
        free = [
            host.with_more_disk(room.disk_gib, room.pool) if host.reaches(vm.host_id, room.pool) else host
            for host in free
        ]
    return free


def like_its_own(free: Sequence[Capacity], vm: Vm) -> Sequence[Capacity]:
    """Leave the hosts on which its machine finds the processor that it runs with."""
    (own,) = (host.cpu_group for host in free if host.host_id == vm.host_id)
    why = "other processors than where the VM runs, which takes restart"
    return close(free, unless=lambda host: host.cpu_group == own, why=why)


def chosen_of(free: Sequence[Capacity], vm: Vm, to: str) -> Sequence[Capacity]:
    """Leave the hosts that it may go to; Invalid when there is none of that name."""
    others = close(free, unless=lambda host: host.host_id != vm.host_id, why="the VM is there already")
    if not to:
        return others
    chosen = [host for host in others if host.name == to]
    if not chosen:
        with Invalid.reference("hostId"):
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
    """Choose the host it goes to with all its disks, and where others find room that are to be with it.

    Invalid (code 3: no capacity) tells why none fits.
    """
    others = companions(db, vm)
    beside = db.scalars(select(Disk).where(Disk.vm_id.in_(others))).all() if others else ()
    free = with_shared_disks(db, vm, (*disks, *beside), free)
    machines, sizes = [reserved(db, id) for id in (vm.id, *others)], defaultdict[str, int](int)
    for disk in (*disks, *beside):
        room = reserved(db, disk.id)
        sizes[room.pool] += room.disk_gib
    required = Requirements(
        project_id=vm.project_id,
        vcpus=sum(-(-one.vcpus * machine_type.vcpus_per_core // one.vcpus_per_core) for one in machines),
        memory_mib=sum(one.memory_mib for one in machines),
        beside=sizes,
        gpus=vm.gpus,
    )
    if not those_that_fit(required, free):
        what = "VM and those that are to be with it" if others else "VM"
        raise no_capacity(what, required, free, "it stays where it is")
    return place(required, free, sizes=sizes_of(machine_type, disk_gib=0), packed=packed)


def abort_move(db: Session, seen: Vm, *, now: datetime, actor: str) -> Vm:
    """Have a VM stay where it is; Refused when it is not being moved. What has gone over already is removed there."""
    vm = lock_to_change(db, seen, now=now)
    if vm.moving_to is None:
        raise Refused(
            f"VM {vm.name!r} is not being moved", reason="ERROR_REASON_UNSPECIFIED", subject=vm.name
        )
    if vm.move is Move.BACK:
        raise Refused(
            f"VM {vm.name!r} is being called back already",
            reason="ERROR_REASON_UNSPECIFIED",
            subject=vm.name,
        )
    vm.term += 1
    log_event(db, vm, EventName.VM_MOVE_ABORTED, "move to another host aborted", now=now, actor=actor)
    if vm.move is Move.LIVE:
        vm.move = Move.BACK
        return vm
    end_second_place(db, vm.id, is_on=vm.host_id, not_on=vm.moving_to, now=now)
    vm.moving_to = vm.move = None
    vm.state = VmState.STOPPED if vm.wanted is Wanted.STOPPED else VmState.STARTING
    return vm


def end_second_place(db: Session, vm_id: UUID, *, is_on: UUID, not_on: UUID, now: datetime) -> None:
    """Give back what a VM that moved, or stayed, has on two hosts, in the transaction that says which one it is on."""
    disk_ids = db.scalars(select(Disk.id).where(Disk.vm_id == vm_id)).all()
    for holder_id in (vm_id, *disk_ids):
        end_second(db, holder_id, on=is_on)
    kept = {gpu.id for gpu in gpus_of_vm(db, vm_id) if gpu.host_id == is_on}
    give_back(db, vm_id, now=now, kept=kept)
    steer_nics(db, vm_id, ())
    db.execute(update(Disk).where(Disk.vm_id == vm_id).values(host_id=is_on))
    wake(db, Kind.HOST, not_on, now=now)
