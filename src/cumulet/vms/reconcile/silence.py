"""What becomes of a host that does not answer, and of its VMs: nothing is taken for ended before there is proof.

    silent ──power command confirms that it is off, or its operator's word──▶ lost ──it answers──▶ twins ended ──▶ as asked
       └──────────────────────────it answers──────────────────────────────────────────────────────────────────────▲

Proof is what comes from beyond the line that is down: who cannot reach a host cannot tell whether it is the host that is dead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog
from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.orm import Session

from cumulet.db import fetch_columns
from cumulet.disks import Disk
from cumulet.errors import Failure
from cumulet.events import EventName
from cumulet.hosts import Host as HostRow
from cumulet.hosts import HostState, HostWanted, change_standing, log_host, lost, unheard
from cumulet.hypervisor import Domain
from cumulet.hypervisor import Hypervisor as Host
from cumulet.journal import SYSTEM, Event
from cumulet.reconcile import Kind, Run, wake
from cumulet.resource import Wanted
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState

log = structlog.get_logger()

KNOWN_BY_SIGHT: Final = (VmState.ACTIVE, VmState.STOPPED, VmState.SUSPENDED)
"""States that are only true as long as their host answers."""
POWER_OFF_AFTER: Final = timedelta(seconds=60)
"""How long a host must be SILENT before its power is cut: a network that is plugged in anew needs no proof."""
POWER_OFF_AGAIN: Final = timedelta(seconds=60)
HERE: Final = select(Vm.id).where(Vm.host_id == bindparam("host_id"))
ELSEWHERE: Final = select(Vm.id, Vm.term, Vm.moving_to)
AWAY: Final = (HostState.SILENT, HostState.LOST)


class PowerFailed(Failure):
    """The command that cuts a host's power did not confirm that it is off; the message is its own words."""

    for_owner = "its host does not answer"


PowerOff = Callable[[str], str]
"""Cuts the power of the host of that name and answers with words when it is seen to be off; PowerFailed otherwise."""


def note_silence(run: Run, problem: str) -> HostRow:
    """Write down that a host does not answer: nothing is placed there, and of its VMs nothing is known once it is SILENT."""
    with run.writing() as db:
        row = db.get_one(HostRow, run.id)
        before = row.state
        change_standing(db, row, unheard(row.standing, run.now, problem), now=run.now)
        if row.state in AWAY:
            seen = update(Vm).where(Vm.host_id == run.id, Vm.state.in_(KNOWN_BY_SIGHT))
            db.execute(seen.values(state=VmState.UNKNOWN))
        if row.state is not before:
            wake_vms(db, run.id, now=run.now)
        return row


def give_up(db: Session, host: HostRow, proof: str, *, now: datetime, actor: str = SYSTEM) -> None:
    """Note that nothing of what ran on a silent host runs on, in the caller's transaction that locked it; what waits for it goes on."""
    change_standing(db, host, lost(host.standing, now, proof), now=now, actor=actor)
    wake_vms(db, host.id, now=now)
    due = or_(Disk.wanted == Wanted.DELETED, Disk.pool.in_(host.shared_pools.keys()))
    loose = select(Disk.id).where(Disk.host_id == host.id, Disk.vm_id.is_(None), due)
    for disk_id in db.scalars(loose.order_by(Disk.id)):
        wake(db, Kind.DISK, disk_id, now=now)


def wake_vms(db: Session, host_id: UUID, *, now: datetime) -> None:
    """Have the VMs of a host look how it stands, in one order for all who wake many."""
    for vm_id in db.scalars(select(Vm.id).where(Vm.host_id == host_id).order_by(Vm.id)):
        wake(db, Kind.VM, vm_id, now=now)


def ensure_off(run: Run, row: HostRow, power_off: PowerOff) -> bool:
    """Have the power of a host cut that stays silent; False when that failed.

    Never of the machine that the server is on, nor of one that its operator works on, and not while more hosts are silent
    than answer: then it is this server that is cut off.
    """
    if row.state is not HostState.SILENT or row.is_here or row.wanted is HostWanted.DRAINED:
        return True
    if run.now - row.since < POWER_OFF_AFTER or not most_answer(run, row):
        return True
    try:
        words = power_off(row.name)
    except PowerFailed as failure:
        log.warning("a silent host's power could not be cut", host=row.name, problem=str(failure))
        with run.writing() as db:
            text = f"its power could not be cut: {failure}"
            log_host(db, db.get_one(HostRow, run.id), EventName.HOST_POWER_FAILED, text, now=run.now)
        return False
    with run.writing() as db:
        found = db.get_one(HostRow, run.id, with_for_update=True, populate_existing=True)
        give_up(db, found, f"its power is off: {words}", now=run.now)
    return True


def most_answer(run: Run, row: HostRow) -> bool:
    """Whether at least as many hosts answer as do not."""
    with run.reading() as db:
        silent = db.scalar(select(func.count()).where(HostRow.state == HostState.SILENT)) or 0
        answering = db.scalar(select(func.count()).where(HostRow.unheard_since.is_(None))) or 0
    if silent > answering:
        log.warning(
            "a silent host's power is not cut: most hosts are silent, so it may be this server that is cut off",
            host=row.name,
            silent=silent,
            answering=answering,
        )
    return silent <= answering


def end_twins(run: Run, host: Host, domains: Mapping[UUID, Domain]) -> Mapping[UUID, Domain]:
    """End machines on a host that are of an earlier term than their VMs, which are elsewhere now; give those that stay.

    On a host that was lost also those of VMs that were terminated meanwhile. A host that got another name keeps all it
    has: its machines are of the term that their VMs are in. While a VM is being moved both hosts have its machine.
    """
    with run.reading() as db:
        strangers = domains.keys() - {id for (id,) in fetch_columns(db, HERE, host_id=run.id)}
        if not strangers:
            return domains
        vms = {vm.id: vm for vm in db.execute(ELSEWHERE.where(Vm.id.in_(strangers)))}
        was_lost = db.get_one(HostRow, run.id).state is HostState.LOST
        gone = terminated(db, strangers - vms.keys()) if was_lost else set()
    moved = {id for id, vm in vms.items() if vm.moving_to is None and domains[id].term < vm.term}
    for vm_id in sorted(moved):
        host.machines.keep_term(vm_id, vms[vm_id].term)
    for vm_id in sorted(moved | gone):
        log.warning("a machine is ended that is not this host's any more", host=str(run.id), vm=str(vm_id))
        host.machines.undefine(vm_id)
    return {vm_id: domain for vm_id, domain in domains.items() if vm_id not in moved | gone}


def has_twins(db: Session, host_id: UUID, domains: Mapping[UUID, Domain]) -> bool:
    """Whether a VM has gone elsewhere meanwhile whose machine a host still has, in the transaction that has locked the host."""
    vms = db.execute(ELSEWHERE.where(Vm.id.in_(domains.keys()), Vm.host_id != host_id))
    return any(moving_to is None and domains[id].term < term for id, term, moving_to in vms)


def terminated(db: Session, vm_ids: AbstractSet[UUID]) -> set[UUID]:
    """Those of which the journal tells that they went; others are younger than a database that was restored."""
    told = select(Event.subject_id).where(
        Event.subject_id.in_(vm_ids), Event.event == EventName.VM_DELETED.value
    )
    return set(db.scalars(told))
