"""Storage disks that a VM got and that lie on another host: brought to its own, and only then plugged.

    its row says     there ─────────────────────────▶ here
    there is one     there ──▶ there and here ──────▶ there and here ──▶ here

A disk counts where its row says. So whoever dies meanwhile leaves a copy that counts nowhere: here it is removed before the
disk is brought anew, there the look at the host removes it. No machine has a disk that is on its way, so nobody writes to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final, NoReturn

import structlog

from cumulet.disks import Disk, note_arrival
from cumulet.hypervisor import DiskSpec, HostUnreachable, HypervisorError
from cumulet.hypervisor.carrier import Line, Lines, both
from cumulet.reconcile import NotYet, Run
from cumulet.vm_record.model import Vm
from cumulet.vms.reconcile.backends import Backends

log = structlog.get_logger()

LOOK: Final = 1.0
"""Seconds between looks at a disk that is on its way."""
AWAY_LOOK: Final = 30.0
"""Seconds until a host that does not answer is asked again for what lies there."""


def ensure_arrived(run: Run, vm: Vm, disks: Sequence[Disk], backends: Backends) -> None:
    """Have all of a VM's disks on its host; NotYet while one is on its way, with how far it is."""
    for disk in disks:
        if disk.host_id != vm.host_id:
            way = f"disk {disk.id} for VM {vm.id} since {disk.attached_at}"
            over = backends.carrier.bring(way, partial(open_lines, vm, disk, backends))
            if over is not None:
                raise NotYet(f"moving disk {disk.name} to the VM's host, {over:.0%}", LOOK)
            settle(run, vm, disk, backends)


def open_lines(vm: Vm, disk: Disk, backends: Backends) -> Lines:
    """Open both ends of a disk's way, first where it lies: what the other host has of it is from before, and goes."""
    target = backends.host(vm.host_id)

    def replace() -> Line:
        target.disks.remove(disk.id)
        return target.disks.receive(DiskSpec(disk.id, disk.size_gib, None, disk.pool))

    return both(open_source(disk, backends), replace)


def open_source(disk: Disk, backends: Backends) -> Line:
    """Open the line that gives it; NotYet while its host does not answer."""
    try:
        source = backends.host(disk.host_id)
        if disk.id in source.disks.list():
            return source.disks.send(disk.id)
    except HostUnreachable as problem:
        raise NotYet(f"disk {disk.name} lies on a host that does not answer", AWAY_LOOK) from problem
    text = f"disk {disk.name!r} is missing from its host: restore it, or detach it"
    raise HypervisorError(text, for_owner=text)


def settle(run: Run, vm: Vm, disk: Disk, backends: Backends) -> NoReturn:
    """Have its row say that it is here, and remove it where it was; NotYet, for the VM is looked at anew then."""
    with run.writing() as db:
        row = db.get_one(Disk, disk.id, with_for_update=True)
        if row.attached_at != disk.attached_at or row.vm_id != vm.id:
            raise NotYet("its owner requested something else", 0)
        note_arrival(db, row, vm.host_id, now=run.now)
    try:
        backends.host(disk.host_id).disks.remove(disk.id)
    except HypervisorError as problem:
        log.warning(
            "a disk that was moved left something behind for now", id=str(disk.id), problem=str(problem)
        )
    raise NotYet(f"disk {disk.name} is there", 0)
