"""Taking samples: one look at a host each half minute, one transaction with what it said of all its machines.

A host is due like everything else, so of several servers one at a time takes its samples, and any goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy import LargeBinary, bindparam, cast, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from cumulet.db import change_each, change_rows, dialect_of, fetch_columns, insert_into, rows_of
from cumulet.hypervisor import HostUnreachable, HypervisorError
from cumulet.hypervisor import Hypervisor as Host
from cumulet.monitoring.model import Samples
from cumulet.monitoring.series import FORMAT, QUARTER, STEP, last_of, sample_of
from cumulet.reconcile import Kind, Run, wake
from cumulet.vm_record import Vm
from cumulet.vms import Backends

EVERY: Final = timedelta(seconds=STEP)
IN_FULL: Final = timedelta(days=1)
HUSH: Final = timedelta(minutes=5)
"""A guest that did not answer is not asked again for so long: its silence costs a second."""
MOST_SILENCES: Final = 10
"""In one look: then the others are asked at the next one, for the lease on it runs out in a minute."""
MOST_THINNED: Final = 1000
"""Rows in one look; what is left is thinned at the next one."""
TABLE: Final = rows_of(Samples)
HERE: Final = Vm.host_id == bindparam("host_id")
BEFORE: Final = TABLE.c.begins < bindparam("before")
ON_HOST: Final = select(Vm.id, Vm.vcpus, Vm.agent_at.is_not(None).label("has_agent")).where(HERE)
STILL_THERE: Final = select(Vm.id).where(HERE).order_by(Vm.id).with_for_update(read=True, key_share=True)
OLD: Final = (
    select(TABLE.c.vm_id, TABLE.c.begins, TABLE.c.packed)
    .join(Vm, Vm.id == TABLE.c.vm_id)
    .where(HERE, TABLE.c.thinned.is_(False), BEFORE)
    .order_by(TABLE.c.vm_id, TABLE.c.begins)
    .limit(MOST_THINNED)
)
THIN: Final = (
    update(TABLE)
    .where(TABLE.c.vm_id == bindparam("of"), TABLE.c.begins == bindparam("at"))
    .values(thinned=True, packed=bindparam("last"))
)
FORGET: Final = delete(TABLE).where(TABLE.c.thinned, BEFORE, TABLE.c.vm_id.in_(select(Vm.id).where(HERE)))


def _keep_on(dialect: str) -> postgresql.Insert | sqlite.Insert:
    """Begin a row with a sample, or make the one that is there longer by it."""
    new = insert_into(dialect, Samples)
    longer = cast(TABLE.c.packed.op("||")(new.excluded.packed), LargeBinary)
    return new.on_conflict_do_update(index_elements=["vm_id", "begins"], set_={"packed": longer})


KEEP: Final = {dialect: _keep_on(dialect) for dialect in ("sqlite", "postgresql")}


@dataclass(frozen=True, slots=True)
class Sampler:
    """Takes the samples of hosts; keeps in mind which guests were silent."""

    backends: Backends
    hushed: dict[UUID, datetime] = field(default_factory=dict)
    """Until when guests are not asked again."""

    def sample_host(self, run: Run) -> datetime:
        """Take a sample of each VM that runs there; look again later."""
        try:
            host = self.backends.host(run.id)
            stats = host.machines.stats()
        except HostUnreachable:
            return run.now + EVERY
        with run.reading() as db:
            vms = [vm for vm in fetch_columns(db, ON_HOST, host_id=run.id) if vm.id in stats]
        pings = self._ping(host, [vm.id for vm in vms if vm.has_agent], run.now)
        at = int(run.now.timestamp())
        packed = {
            vm.id: FORMAT.pack(*sample_of(stats[vm.id], at=at, vcpus=vm.vcpus, ping_ms=pings.get(vm.id)))
            for vm in vms
        }
        kept = timedelta(days=self.backends.fabrics.catalogue.limits.sample_days)
        with run.writing() as db:
            keep(db, run.id, packed, begins=at - at % QUARTER)
            thin(db, run.id, before=int((run.now - IN_FULL).timestamp()) - QUARTER)
            forget(db, run.id, before=int((run.now - kept).timestamp()))
        wake_silent(run, pings.keys() & self.hushed.keys())
        return run.now + EVERY

    def _ping(self, host: Host, vm_ids: Iterable[UUID], now: datetime) -> Mapping[UUID, float | None]:
        """Ask the guests that may be asked."""
        for vm_id in [vm_id for vm_id, until in self.hushed.items() if until <= now]:
            del self.hushed[vm_id]
        pings: dict[UUID, float | None] = {}
        silences = 0
        for vm_id in vm_ids:
            if silences == MOST_SILENCES:
                break
            if vm_id not in self.hushed:
                pings[vm_id] = ping(host, vm_id)
                if pings[vm_id] is None:
                    self.hushed[vm_id] = now + HUSH
                    silences += 1
        return pings


def wake_silent(run: Run, vm_ids: AbstractSet[UUID]) -> None:
    """Have VMs looked at whose guests were there and are silent: they may have panicked.

    In a transaction of its own: who tears a VM down holds its due row and waits for its samples.
    """
    if vm_ids:
        with run.writing() as db:
            for vm_id in sorted(vm_ids):
                wake(db, Kind.VM, vm_id, now=run.now)


def ping(host: Host, vm_id: UUID) -> float | None:
    """Ask a guest how quick it is; one that cannot be asked is silent, and costs the others nothing."""
    try:
        return host.guests.ping(vm_id)
    except HypervisorError:
        return None


def keep(db: Session, host_id: UUID, packed: Mapping[UUID, bytes], *, begins: int) -> None:
    """Add a sample of each VM to its row of this quarter; of one that has gone meanwhile, nothing."""
    rows = [
        {"vm_id": vm_id, "begins": begins, "thinned": False, "packed": packed[vm_id]}
        for (vm_id,) in fetch_columns(db, STILL_THERE, host_id=host_id)
        if vm_id in packed
    ]
    change_each(db, KEEP[dialect_of(db)], rows)


def thin(db: Session, host_id: UUID, *, before: int) -> None:
    """Leave of each row that is old enough its last sample."""
    rows = [
        {"of": row.vm_id, "at": row.begins, "last": last_of(row.packed)}
        for row in fetch_columns(db, OLD, host_id=host_id, before=before)
    ]
    change_each(db, THIN, rows)


def forget(db: Session, host_id: UUID, *, before: int) -> None:
    """Remove rows that are too old."""
    change_rows(db, FORGET, host_id=host_id, before=before)
