"""Taking and giving back NICs and addresses, in the transaction of whatever they are for.

Two transactions may choose the same address at the same time (on PostgreSQL): the row that is written first has it,
and the other transaction, which then finds it taken, chooses again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    bindparam,
    delete,
    func,
    select,
    union_all,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from cumulet.catalogue import DataCenter
from cumulet.db import Row, Timestamp, dialect_of, fetch_columns, insert_into
from cumulet.errors import Exhausted, Refused
from cumulet.networks.addresses import capacity, mac_of, pick_address
from cumulet.networks.model import CoolingAddress, ExternalAddress, Network, Nic, NicGroup
from cumulet.resource import Wanted
from cumulet.vm_record import Vm

COOL_DOWN: Final = timedelta(minutes=2)
"""How long an external address that was given back is nobody's: name servers and open connections still know it."""
NICS_OF_VM: Final = select(Nic).where(Nic.vm_id == bindparam("vm_id")).order_by(Nic.position)
HELD: Final = select(ExternalAddress.number).where(
    ExternalAddress.data_center_id == bindparam("data_center_id")
)
COOLING: Final = select(CoolingAddress.number).where(
    CoolingAddress.data_center_id == bindparam("data_center_id"),
    CoolingAddress.until > bindparam("now", type_=Timestamp),
)


@dataclass(frozen=True, slots=True)
class Taken:
    """What is taken of a range: the statements that find the highest address of it, and all."""

    highest: Select[int | None]
    all: Select[int]


def taken_by(numbers: Select[int] | CompoundSelect[int]) -> Taken:
    """Ask for the addresses that this selects."""
    number: ColumnElement[int] = numbers.subquery().c.number
    return Taken(select(func.max(number)), select(number))


INTERNAL: Final = taken_by(select(Nic.number).where(Nic.network_id == bindparam("network_id")))
EXTERNAL: Final = taken_by(union_all(HELD, COOLING))


def add_nic(
    db: Session,
    vm_id: UUID,
    network: Network,
    *,
    hostname: str,
    position: int = 0,
    implicit: bool = True,
    leads_out: bool = True,
    group_ids: Iterable[UUID] = (),
) -> UUID:
    """Give a VM a NIC on a network with an address of its own, and its id; Refused when the network is full."""
    nic = {
        "vm_id": vm_id,
        "network_id": network.id,
        "position": position,
        "hostname": hostname,
        "implicit": implicit,
        "leads_out": leads_out,
        "hosts": [],
    }
    while (address := _free_address(db, network.subnet, INTERNAL, network_id=network.id)) is not None:
        id = uuid4()
        if _add_unless_taken(db, Nic, address, **nic, id=id, mac=mac_of(id)):
            for group_id in group_ids:
                db.add(NicGroup(nic_id=id, group_id=group_id))
            return id
    raise Refused(
        f"network {network.name!r} is full: all {capacity(network.subnet)} addresses of {network.range} are taken",
        reason="NETWORK_NOT_READY",
        subject=network.name,
        passing=_frees_addresses(db, network),
    )


def take_external(
    db: Session, holder_id: UUID, data_center: DataCenter, *, project_id: str | None, now: datetime
) -> IPv4Address:
    """Take an address of the data center's external range, of a project's quota if any's; Exhausted when none is free."""
    held = {"data_center_id": data_center.id, "holder_id": holder_id, "project_id": project_id}
    of = {"data_center_id": data_center.id, "now": now}
    while (address := _free_address(db, data_center.external_range, EXTERNAL, **of)) is not None:
        if _add_unless_taken(db, ExternalAddress, address, **held):
            return address
    raise Exhausted(_no_external(db, data_center, now))


def give_back_externals(db: Session, holder_ids: Collection[UUID], *, now: datetime) -> None:
    """Give the external addresses of these NICs or routers back; nobody gets them before they have cooled down."""
    given = delete(ExternalAddress).where(ExternalAddress.holder_id.in_(holder_ids))
    rows = db.execute(given.returning(ExternalAddress.data_center_id, ExternalAddress.address)).all()
    db.execute(delete(CoolingAddress).where(CoolingAddress.until <= now))
    for row in rows:
        db.merge(
            CoolingAddress(data_center_id=row.data_center_id, address=row.address, until=now + COOL_DOWN)
        )
    db.flush()


def external_address(db: Session, holder_id: UUID) -> IPv4Address | None:
    """Look up the external address that a NIC or router holds."""
    address = db.scalar(select(ExternalAddress.address).where(ExternalAddress.holder_id == holder_id))
    return IPv4Address(address) if address else None


def free_external(db: Session, data_center: DataCenter, *, now: datetime) -> int:
    """Count the external addresses that can be given out now."""
    held = select(func.count()).select_from(ExternalAddress)
    held = held.where(ExternalAddress.data_center_id == data_center.id)
    cooling = select(func.count()).select_from(CoolingAddress)
    cooling = cooling.where(CoolingAddress.data_center_id == data_center.id, CoolingAddress.until > now)
    in_use = (db.scalar(held) or 0) + (db.scalar(cooling) or 0)
    return max(capacity(data_center.external_range) - in_use, 0)


def nics_of(db: Session, vm_id: UUID) -> Sequence[Nic]:
    """List a VM's NICs in the order they were asked for."""
    return db.scalars(NICS_OF_VM, {"vm_id": vm_id}).all()


def steer_nics(db: Session, vm_id: UUID, hosts: Sequence[str]) -> None:
    """Say where a VM's NICs may be plugged in: from which host to which while it moves, () for anywhere.

    The fabric follows when the VM's ports are put again (`ensure_ports`).
    """
    db.execute(update(Nic).where(Nic.vm_id == vm_id).values(hosts=list(hosts)))


def release_nics(db: Session, vm_id: UUID, *, now: datetime) -> None:
    """Give a VM's NICs and addresses back."""
    nic_ids = db.scalars(select(Nic.id).where(Nic.vm_id == vm_id)).all()
    give_back_externals(db, nic_ids, now=now)
    db.execute(delete(NicGroup).where(NicGroup.nic_id.in_(nic_ids)))
    db.execute(delete(Nic).where(Nic.vm_id == vm_id))


def _free_address(db: Session, range_: IPv4Network, taken: Taken, **of: object) -> IPv4Address | None:
    """Choose an address that none of these has."""
    ((highest,),) = fetch_columns(db, taken.highest, **of)
    return pick_address(range_, highest, lambda: [number for (number,) in fetch_columns(db, taken.all, **of)])


def _frees_addresses(db: Session, network: Network) -> bool:
    on_it = select(Nic.id).join(Vm, Vm.id == Nic.vm_id).where(Nic.network_id == network.id)
    return db.scalar(on_it.where(Vm.wanted == Wanted.DELETED).limit(1)) is not None


def _add_unless_taken(db: Session, table: type[Row], address: IPv4Address, **values: object) -> bool:
    """Add an address' row; False when another transaction has just taken what must be unique."""
    values |= {"address": str(address), "number": int(address)}
    return bool(fetch_columns(db, _adding(dialect_of(db), table), **values))


@cache
def _adding(dialect: str, table: type[Row]) -> ReturningInsert[*tuple[Any, ...]]:
    return insert_into(dialect, table).on_conflict_do_nothing().returning(*table.__table__.primary_key)


def _no_external(db: Session, data_center: DataCenter, now: datetime) -> str:
    """Say that no external address can be given out, and when one will be."""
    text = f"data center {data_center.id!r} has no external address left in {data_center.external_range}"
    until = select(func.min(CoolingAddress.until)).where(
        CoolingAddress.data_center_id == data_center.id, CoolingAddress.until > now
    )
    soonest = db.scalar(until)
    if soonest is None:
        return text
    return f"{text}; one that was released is available again in {(soonest - now).total_seconds():.0f} s"
