"""The way of a VM to another host: level-triggered as all else, so it may be interrupted at any line and begun anew.

Until its row names the other host nothing of it is started anywhere: not here, for `moving_to` is set, and not by whoever
does not know that, for their term is an earlier one. A disk that arrived counts only in the term it was brought in: what an
aborted move left is never taken for what the disk holds now.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NoReturn
from uuid import UUID

import structlog

from cumulet.db import update_row
from cumulet.disks import Disk
from cumulet.events import EventName
from cumulet.hypervisor import BaseImage, DiskSpec, HypervisorError, Power, Seed
from cumulet.hypervisor import Hypervisor as Host
from cumulet.hypervisor.carrier import Carrier, Lines, both
from cumulet.hypervisor.journey import Journeys
from cumulet.networks import Fabrics
from cumulet.reconcile import NotYet, Run
from cumulet.resource import Event, Wanted, changing
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.moves import end_second_place
from cumulet.vms.reconcile.power import power_off
from cumulet.vms.retained_logs import CONSOLE_LOG_BYTES

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Way:
    """From where to where, and who carries."""

    source: Host
    target: Host
    carrier: Carrier
    journeys: Journeys
    fabrics: Fabrics

    def carried(self, disks: Sequence[Disk]) -> list[Disk]:
        """Those disks that the other host does not have as well, for they lie in one directory of both: asked anew each time.

        Only those are ever copied, or removed on either. What may be shared and is not mounted on one of them is none of those.
        """
        here, there = self.source.facts().shared_pools, self.target.facts().shared_pools
        return [disk for disk in disks if is_apart(here.get(disk.pool), there.get(disk.pool))]


def is_apart(here: str | None, there: str | None) -> bool:
    """Whether a pool is another one on either host, by what it bears there: an identity, `""` while it is not mounted, None for its own."""
    return here is None or there is None or ("" not in (here, there) and here != there)


def ensure_moved(run: Run, vm: Vm, disks: Sequence[Disk], way: Way, base: BaseImage, seed: Seed) -> NoReturn:
    """Bring a VM to the other host; NotYet with how far it is, also when it is there: it is looked at anew then."""
    way.source.machines.keep_term(vm.id, vm.term)
    domain = way.source.machines.get(vm.id)
    if domain is not None and domain.power is not Power.OFF:
        power_off(run, vm, domain, way.source)
    made = [disk for disk in disks if disk.is_made]
    check_whole(vm, made, way.source)
    carried = way.carried(made)
    if stays := [disk for disk in made if disk not in carried]:
        check_whole(vm, stays, way.target)
    for disk in carried:
        ensure_brought(run, vm, disk, way, base if disk.id == vm.boot_disk_id else None)
    way.target.seeds.write(seed)
    way.target.consoles.bring_log(vm.id, way.source.consoles.log(vm.id, max_bytes=CONSOLE_LOG_BYTES))
    state = VmState.STOPPED if vm.wanted is Wanted.STOPPED else VmState.STARTING
    settle(run, vm, "moved to another host", state=state, started=0)
    leave(vm, made, way)
    raise NotYet("it was moved", 0)


def check_whole(vm: Vm, disks: Sequence[Disk], host: Host) -> None:
    """Go no further unless a host has its disks: what lies on the other one is about to be replaced, or removed."""
    missing = {disk.id for disk in disks} - host.disks.list().keys()
    if missing:
        raise HypervisorError(f"the host of VM {vm.id} lacks its disks {sorted(map(str, missing))}")


def ensure_brought(run: Run, vm: Vm, disk: Disk, way: Way, base: BaseImage | None) -> None:
    """Have a disk on the other host as it is on this one; NotYet while it is on its way."""
    if disk.brought_in_term == vm.term:
        return
    over = way.carrier.bring(f"disk {disk.id} in term {vm.term}", partial(open_lines, vm, disk, way, base))
    if over is not None:
        raise NotYet(f"moving disk {disk.name}, {over:.0%}", 0.5)
    with run.writing() as db:
        update_row(db, Disk, disk.id, brought_in_term=vm.term)


def open_lines(vm: Vm, disk: Disk, way: Way, base: BaseImage | None) -> Lines:
    """Open both ends of a disk's way; what the other host has of it, and a machine of the VM there, is from before."""
    way.target.machines.undefine(vm.id)
    way.target.disks.remove(disk.id)
    spec = DiskSpec(id=disk.id, size_gib=disk.size_gib, base=base, pool=disk.pool)
    return both(way.source.disks.send(disk.id), partial(way.target.disks.receive, spec))


def settle(run: Run, vm: Vm, text: str, *, state: VmState, started: int) -> None:
    """Have the rows say that it is on the other host."""
    left, to = vm.host_id, target_of(vm)
    moved = {"host_id": to, "moving_to": None, "move": None, "state": state, "started": started}
    with changing(run, vm, moved | {"power_asked_at": None}, Event(EventName.VM_MOVED, text)) as db:
        end_second_place(db, vm.id, is_on=to, not_on=left, now=run.now)


def target_of(vm: Vm) -> UUID:
    """Where a VM that is being moved goes."""
    if vm.moving_to is None:
        raise AssertionError("it is being moved")
    return vm.moving_to


def leave(vm: Vm, disks: Sequence[Disk], way: Way) -> None:
    """Remove what the old host still has of it, once more sure that it is over; where that fails, the look at the whole host does it."""
    source = way.source
    try:
        check_whole(vm, disks, way.target)
        source.machines.undefine(vm.id)
        for disk in way.carried(disks):
            source.disks.remove(disk.id)
        source.consoles.remove_log(vm.id)
        source.seeds.remove(vm.id)  # the last: by it the look at the host knows that there is something left
    except HypervisorError as problem:
        log.warning("a VM that was moved left something behind for now", id=str(vm.id), problem=str(problem))
