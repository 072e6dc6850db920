"""The look at a whole host: events are only a shortcut, so every half a minute its machines are compared with our rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from sqlalchemy import Row, bindparam, select
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns
from cumulet.disks import Disk, DiskState
from cumulet.events import EventName
from cumulet.gpus import note_gpus, note_partitions
from cumulet.hosts import SILENCE, HostState, Orphans, change_standing, heard, log_host, note_facts
from cumulet.hosts import Host as HostRow
from cumulet.hypervisor import Domain, HostUnreachable, HypervisorError, Power
from cumulet.hypervisor import Hypervisor as Host
from cumulet.journal import Event
from cumulet.plurals import plural
from cumulet.private_images import PrivateImage
from cumulet.reconcile import Kind, Run, wake
from cumulet.resource import Wanted
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms.reconcile.backends import Backends
from cumulet.vms.reconcile.copies import keep_copies, those_in
from cumulet.vms.reconcile.drain import move_away
from cumulet.vms.reconcile.fence import ensure_cut_off
from cumulet.vms.reconcile.silence import (
    POWER_OFF_AGAIN,
    end_twins,
    ensure_off,
    has_twins,
    note_silence,
)
from cumulet.vms.reconcile.twin_disks import remove_twin_disks
from cumulet.vms.retained_logs import forget_old

log = structlog.get_logger()

T = TypeVar("T")
SWEEP: Final = timedelta(seconds=30)
HELD_UP: Final = {
    Power.PAUSED: VmState.SUSPENDED,
    Power.PAUSED_ON_IO_ERROR: VmState.SUSPENDED,
    Power.FAULTED: VmState.FAILED,
}
"""How a VM is shown whose machine is there and does not go on."""
IS_KNOWN: Final = select(HostRow.id).where(HostRow.id == bindparam("host_id"))
VMS: Final = (
    select(Vm.id, Vm.wanted, Vm.state, Vm.started)
    .where(Vm.host_id == bindparam("host_id"), Vm.waits_until.is_(None))
    .order_by(Vm.id)
)
DISKS: Final = (
    select(Disk.id, Disk.state, Disk.vm_id.is_(None).label("is_loose"))
    .where(Disk.host_id == bindparam("host_id"))
    .order_by(Disk.id)
)


@dataclass(frozen=True, slots=True)
class Sweeper:
    """Looks after hosts; keeps in mind what it saw without an owner."""

    backends: Backends
    orphans: Orphans = field(default_factory=Orphans)

    def sweep_host(self, run: Run) -> datetime | None:
        """Note what the host has, wake VMs that differ from their rows, remove what has no owner; look again later.

        One that was removed from the cloud is left alone.
        """
        with run.reading() as db:
            if not fetch_columns(db, IS_KNOWN, host_id=run.id):
                return None
        try:
            host = self.backends.host(run.id)
            facts = host.facts()
            domains = end_twins(run, host, host.machines.list())
            gpus = host.gpus.read()
            disks, seeds = host.disks.list(), host.seeds.list()
        except HostUnreachable as problem:
            return self._see_to_silence(run, str(problem))
        going = move_away(run, self.backends.fabrics.catalogue)
        with run.writing() as db:
            forget_old(db, run.now, self.backends.fabrics.catalogue.limits)
            note_facts(db, run.id, facts, now=run.now)
            vms = fetch_columns(db, VMS, host_id=run.id)
            vm_ids = wake_changed_vms(db, run, vms, domains)
            row = db.get_one(HostRow, run.id)
            if row.state is HostState.LOST and has_twins(db, run.id, domains):
                return run.now  # they went elsewhere since they were looked at: they end first
            busy = any(vm.wanted is Wanted.ACTIVE for vm in vms) or bool(running_ones(domains) or going)
            change_standing(db, row, heard(row.standing, run.now, busy=busy), now=run.now)
            disk_ids = wake_changed_disks(db, run, disks.keys())
            note_gpus(db, run.id, gpus, users_of(domains), now=run.now)
            note_partitions(db, run.id, gpus.partitions)
        remove_twin_disks(
            run,
            host,
            self.orphans,
            disks=disks.keys() - disk_ids,
            seeds=seeds - vm_ids,
            find_host=self.backends.host,
        )
        self._remove_orphans(
            host,
            run,
            row,
            domains=domains.keys() - vm_ids,
            disks=disks.keys() - disk_ids,
            seeds=seeds - vm_ids,
        )
        offered = {image.sha256 for image in self.backends.images.list()}
        pools = self.backends.fabrics.catalogue.find_data_center(row.data_center_id).pool_paths
        own_pool = next((id for id, path in pools.items() if path is None), "")
        keep_copies(run, host, facts, offered=offered, pool=own_pool)
        return run.now + SWEEP

    def _see_to_silence(self, run: Run, problem: str) -> datetime:
        """Note that a host does not answer, and do what may be done about it; look again soon."""
        row = note_silence(run, problem)
        if row.is_here and run.id in self.backends.hosts:
            self.backends.repair()
        power_off = self.backends.power_off
        reaches_most = 2 * len(self.backends.silent) <= len(self.backends.hosts)
        if not reaches_most:
            return run.now + SILENCE / 3
        if power_off is None or not ensure_off(run, row, power_off):
            ensure_cut_off(run, row, self.backends)
            return run.now + (SILENCE / 3 if power_off is None else POWER_OFF_AGAIN)
        return run.now + SILENCE / 3

    def _remove_orphans(
        self,
        host: Host,
        run: Run,
        row: HostRow,
        *,
        domains: set[UUID],
        disks: set[UUID],
        seeds: frozenset[UUID],
    ) -> None:
        """Remove what has no row any more, here nor elsewhere: a host that got another name keeps all it has."""
        there: dict[str, tuple[AbstractSet[UUID], Callable[[UUID], object]]] = {
            "domain": (domains, host.machines.undefine),
            "disk": (disks, partial(remove_disk, host)),
            "seed": (seeds, host.seeds.remove),
            "term": (host.machines.terms().keys(), host.machines.forget_term),
            "capture": (host.images.captures(), host.images.forget_capture),
            "private image": (self.backends.images.private_ids(), self.backends.images.remove_private),
        }
        gone, strange = without_owner(run, {id for ids, _ in there.values() for id in ids})
        note_strays(run, row, {kind: ids & strange for kind, (ids, _) in there.items()})
        removed: dict[str, int] = {}
        for kind, (ids, remove) in there.items():
            place = kind if kind == "private image" else f"{kind} on {run.id}"
            for id in self.orphans.overdue(place, ids & gone, run.now):
                remove(id)
                if kind != "term":  # which goes in no other way
                    removed[kind] = removed.get(kind, 0) + 1
        if removed:
            words = f"removed what nobody has any more: {counted(removed)}"
            with run.writing() as db:
                log_host(db, row, EventName.HOST_LEFTOVERS_REMOVED, words, now=run.now)


def remove_disk(host: Host, id: UUID) -> None:
    """Remove a disk, unless a machine that somebody else made runs on it."""
    with suppress(HypervisorError):
        host.disks.remove(id)


def without_owner(run: Run, found: set[UUID]) -> tuple[AbstractSet[UUID], AbstractSet[UUID]]:
    """Tell what had a row once and has none, which alone is ours to remove, and what the database has never known.

    Rows and their facts are written before anything is made. What the journal does not know is younger than a database
    that was restored from a backup: it stays, and the operator is told.
    """
    if not found:
        return found, found
    with run.reading() as db:
        owned = {id for row in (Vm, Disk, PrivateImage) for id in those_in(db, row.id, found)}
        known = those_in(db, Event.subject_id, found - owned)
    return known, found - owned - known


def note_strays(run: Run, row: HostRow, found: Mapping[str, AbstractSet[UUID]]) -> None:
    """Write down what is on a host that the database has never known, and tell the operator when that is news."""
    strays = {kind: sorted(map(str, ids)) for kind, ids in found.items() if ids}
    if strays == row.strays:
        return
    with run.writing() as db:
        row = db.get_one(HostRow, run.id)
        row.strays = strays
        words = counted({kind: len(ids) for kind, ids in strays.items()}) or "nothing any more"
        log_host(
            db, row, EventName.HOST_STRAYS, f"there that the database has never known: {words}", now=run.now
        )
    ids = sorted({id for several in strays.values() for id in several})
    log.warning("kept objects that the database has never known", host=row.name, ids=ids)


def counted(things: Mapping[str, int]) -> str:
    """Count things of several kinds in words: `2 disks, 1 seed`."""
    return ", ".join(plural(number, kind) for kind, number in things.items())


def users_of(domains: Mapping[UUID, Domain]) -> dict[str, UUID]:
    """Tell by their addresses which GPUs machines run with."""
    return {address: domain.id for domain in running_ones(domains) for address in domain.gpus}


def running_ones(domains: Mapping[UUID, Domain]) -> list[Domain]:
    """Those machines that are not off."""
    return [domain for domain in domains.values() if domain.power is not Power.OFF]


def wake_changed_vms(
    db: Session, run: Run, vms: Iterable[Row[*tuple[Any, ...]]], domains: Mapping[UUID, Domain]
) -> set[UUID]:
    """Wake VMs of a host that differ from their rows, in one order for all who wake many; answers which it has."""
    ids = set()
    for id, wanted, state, started in vms:
        ids.add(id)
        if differs(domains.get(id), wanted=wanted, state=state, started=started):
            wake(db, Kind.VM, id, now=run.now)
    return ids


def differs(domain: Domain | None, *, wanted: Wanted, state: VmState, started: int) -> bool:
    """Whether a VM's machine is not as its row says it was last seen, or not as it is wanted."""
    if wanted is Wanted.DELETED or domain is None or not domain.spec_digest or state is VmState.UNKNOWN:
        return True
    if HELD_UP.get(domain.power) is not (state if state in HELD_UP.values() else None):
        return True
    runs = domain.power is not Power.OFF
    return runs != (wanted is Wanted.ACTIVE) or domain.started != started


def wake_changed_disks(db: Session, run: Run, there: AbstractSet[UUID]) -> set[UUID]:
    """Wake disks that no VM has and that are on the host or not against what was last seen; answers which it has."""
    ids = set()
    for id, state, is_loose in fetch_columns(db, DISKS, host_id=run.id):
        ids.add(id)
        if state is DiskState.INIT:
            continue
        if is_loose and (id in there) == (state is DiskState.ERROR):
            wake(db, Kind.DISK, id, now=run.now)
    return ids
