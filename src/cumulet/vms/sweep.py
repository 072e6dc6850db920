"""The look at a whole host: events are only a shortcut, so every half a minute its machines are compared with our rows."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.orm import Session, load_only

from cumulet.disks import Disk, DiskState
from cumulet.hosts import Host as HostRow
from cumulet.hosts import HostState, Leftovers, note_facts
from cumulet.hypervisor import Domain, HostUnreachable, HypervisorError, Power
from cumulet.hypervisor import Hypervisor as Host
from cumulet.private_images import PrivateImage
from cumulet.reconcile import Run, wake
from cumulet.vms.kept_log import forget_old
from cumulet.vms.model import Vm, Wanted
from cumulet.vms.reconcile import World
from cumulet.vms.wire import VmState

SWEEP: Final = timedelta(seconds=30)
KNOWN_BY_SIGHT: Final = (VmState.ACTIVE, VmState.STOPPED, VmState.SUSPENDED)
"""States that are only true as long as their host answers."""


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Looks after hosts; keeps in mind what it saw without an owner."""

    world: World
    leftovers: Leftovers = field(default_factory=Leftovers)

    def sweep_host(self, run: Run) -> datetime:
        """Wake VMs that differ from their rows, remove what has no owner; look again later."""
        try:
            host = self.world.host(run.id)
            facts = host.facts()
            domains, disks, seeds = host.domains(), host.disks(), host.seeds()
        except HostUnreachable as problem:
            note_down(run, str(problem))
            if run.id in self.world.hosts:
                self.world.mend()
            return run.now + SWEEP / 3
        with run.writing() as db:
            forget_old(db, run.now)
            note_facts(db.get_one(HostRow, run.id), facts, now=run.now)
            vms = select(Vm).where(Vm.host_id == run.id).order_by(Vm.id)
            for vm in db.scalars(vms.options(load_only(Vm.wanted, Vm.state, Vm.started))):
                if differs(vm, domains.get(vm.id)):
                    wake(db, "vm", vm.id, now=run.now)
            for disk_id in missing_disks(db, run.id, disks.keys()):
                wake(db, "disk", disk_id, now=run.now)
        self._remove_leftovers(host, run, domains.keys(), disks.keys(), seeds)
        return run.now + SWEEP

    def _remove_leftovers(
        self,
        host: Host,
        run: Run,
        domains: AbstractSet[UUID],
        disks: AbstractSet[UUID],
        seeds: AbstractSet[UUID],
    ) -> None:
        """Remove what has no row, wherever that says it is: a host that got another name keeps all it has."""
        with run.reading() as db:
            vm_ids = set(db.scalars(select(Vm.id).where(Vm.id.in_(domains | seeds))))
            disk_ids = set(db.scalars(select(Disk.id).where(Disk.id.in_(disks))))
            images = frozenset(db.scalars(select(Vm.image_sha256).union(select(PrivateImage.sha256))))
            takings = host.takings()
            owned = set(db.scalars(select(PrivateImage.id)))
        for id in self.leftovers.overdue(f"domain on {run.id}", domains - vm_ids, run.now):
            host.undefine(id)
        for id in self.leftovers.overdue(f"disk on {run.id}", disks - disk_ids, run.now):
            with suppress(HypervisorError):  # a machine that somebody else made of it
                host.remove_disk(id)
        for id in self.leftovers.overdue(f"seed on {run.id}", seeds - vm_ids, run.now):
            host.remove_seed(id)
        for id in self.leftovers.overdue(f"taking on {run.id}", takings - owned, run.now):
            host.forget_taking(id)
        stored = self.world.images.private_ids()
        for id in self.leftovers.overdue("private image", stored - owned, run.now):
            self.world.images.private(id).unlink(missing_ok=True)
        needed = images | {image.sha256 for image in self.world.images.list()}
        for sha256 in host.image_copies() - needed:
            with suppress(HypervisorError):  # a leftover disk in its grace is still based on it
                host.remove_image_copy(sha256)


def differs(vm: Vm, domain: Domain | None) -> bool:
    """Whether a VM's machine is not as its row says it was last seen, or not as it is wanted."""
    if vm.wanted is Wanted.DELETED or domain is None or vm.state is VmState.UNKNOWN:
        return True
    runs = domain.power is not Power.OFF
    return runs != (vm.wanted is Wanted.ACTIVE) or domain.started != vm.started


def missing_disks(db: Session, host_id: UUID, there: AbstractSet[UUID]) -> list[UUID]:
    """Disks that no VM has and that are on the host or not against what was last seen, in one order."""
    alone = select(Disk.id, Disk.state).where(Disk.host_id == host_id, Disk.vm_id.is_(None)).order_by(Disk.id)
    return [disk.id for disk in db.execute(alone) if (disk.id in there) == (disk.state is DiskState.ERROR)]


def note_down(run: Run, problem: str) -> None:
    """Write down that a host does not answer: nothing is placed there, and from the second look on nothing is known."""
    with run.writing() as db:
        row = db.get_one(HostRow, run.id)
        if row.state is HostState.DOWN:
            seen = update(Vm).where(Vm.host_id == run.id, Vm.state.in_(KNOWN_BY_SIGHT))
            db.execute(seen.values(state=VmState.UNKNOWN))
        row.state, row.problem = HostState.DOWN, problem
