"""Taking and giving back NICs and addresses, in the transaction of whatever they are for.

Two transactions may choose the same address at the same time (on PostgreSQL): the row that is written first has it,
and the other transaction, which then finds it taken, chooses again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import cache
from ipaddress import IPv4Address
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningInsert

from cumulet.catalogue import DataCenter
from cumulet.db import Row, dialect_of, fetch_columns, insert_into
from cumulet.errors import Exhausted, Refused
from cumulet.networks.addresses import capacity, mac_of, pick_address
from cumulet.networks.model import CoolingAddress, ExternalAddress, Network, Nic, NicGroup

COOL_DOWN: Final = timedelta(minutes=2)
"""How long an external address that was given back is nobody's: name servers and open connections still know it."""
NICS_OF_VM: Final = select(Nic).where(Nic.vm_id == bindparam("vm_id")).order_by(Nic.position)
ADDRESSES_ON: Final = select(Nic.address).where(Nic.network_id == bindparam("network_id"))
EXTERNALS_IN_USE: Final = select(ExternalAddress.address).where(
    ExternalAddress.data_center_id == bindparam("data_center_id")
)
COOLING: Final = select(CoolingAddress.address, CoolingAddress.until).where(
    CoolingAddress.data_center_id == bindparam("data_center_id")
)


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
    """Give a VM a card on a network with an address of its own, and its id; Refused when the network is full."""
    card = {
        "vm_id": vm_id,
        "network_id": network.id,
        "position": position,
        "hostname": hostname,
        "implicit": implicit,
        "leads_out": leads_out,
    }
    while (address := pick_address(network.subnet, _addresses_on(db, network))) is not None:
        id = uuid4()
        if _add_unless_taken(db, Nic, **card, id=id, mac=mac_of(id), address=str(address)):
            for group_id in group_ids:
                db.add(NicGroup(nic_id=id, group_id=group_id))
            return id
    raise Refused(
        f"network {network.name!r} is full: all {capacity(network.subnet)} addresses of {network.range} are taken",
        reason="NETWORK_NOT_READY",
        subject=network.name,
    )


def take_external(db: Session, holder_id: UUID, data_center: DataCenter, *, now: datetime) -> IPv4Address:
    """Take an address of the data center's external range; Exhausted when none is free."""
    held = {"data_center_id": data_center.id, "holder_id": holder_id}
    while (
        address := pick_address(data_center.external_range, _externals_in_use(db, data_center, now))
    ) is not None:
        if _add_unless_taken(db, ExternalAddress, **held, address=str(address)):
            return address
    raise Exhausted(_no_external(db, data_center, now))


def give_back_externals(db: Session, holder_ids: Collection[UUID], *, now: datetime) -> None:
    """Give the external addresses of these NICs or routers back; nobody gets them before they have cooled down."""
    given = delete(ExternalAddress).where(ExternalAddress.holder_id.in_(holder_ids))
    for row in db.execute(given.returning(ExternalAddress.data_center_id, ExternalAddress.address)).all():
        db.add(CoolingAddress(data_center_id=row.data_center_id, address=row.address, until=now + COOL_DOWN))
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
    """List a VM's cards in the order they were asked for."""
    return db.scalars(NICS_OF_VM, {"vm_id": vm_id}).all()


def release_nics(db: Session, vm_id: UUID, *, now: datetime) -> None:
    """Give a VM's cards and addresses back."""
    nic_ids = db.scalars(select(Nic.id).where(Nic.vm_id == vm_id)).all()
    give_back_externals(db, nic_ids, now=now)
    db.execute(delete(NicGroup).where(NicGroup.nic_id.in_(nic_ids)))
    db.execute(delete(Nic).where(Nic.vm_id == vm_id))


def _addresses_on(db: Session, network: Network) -> Collection[str]:
    return [address for (address,) in fetch_columns(db, ADDRESSES_ON, network_id=network.id)]


def _externals_in_use(db: Session, data_center: DataCenter, now: datetime) -> Collection[str]:
    """List the addresses that are held or cool down; those that have cooled down are forgotten.

    What is held is read first: one that is given back meanwhile is in one of the two.
    """
    held = fetch_columns(db, EXTERNALS_IN_USE, data_center_id=data_center.id)
    cooling = fetch_columns(db, COOLING, data_center_id=data_center.id)
    if any(until <= now for _, until in cooling):
        cooled = delete(CoolingAddress).where(CoolingAddress.until <= now)
        db.execute(cooled.where(CoolingAddress.data_center_id == data_center.id))
    return [*(address for (address,) in held), *(address for address, until in cooling if until > now)]


def _add_unless_taken(db: Session, table: type[Row], **values: object) -> bool:
    """Add a row; False when another transaction has just taken what must be unique."""
    db.flush()
    return bool(db.connection().execute(_adding(dialect_of(db), table), values).all())


@cache
def _adding(dialect: str, table: type[Row]) -> ReturningInsert[*tuple[Any, ...]]:
    return insert_into(dialect, table).on_conflict_do_nothing().returning(*table.__table__.primary_key)


def _no_external(db: Session, data_center: DataCenter, now: datetime) -> str:
    """Say that no external address can be given out, and when one will be."""
    text = f"data center {data_center.id!r} has no external address left in {data_center.external_range}"
    until = select(func.min(CoolingAddress.until)).where(CoolingAddress.data_center_id == data_center.id)
    soonest = db.scalar(until)
    if soonest is None:
        return text
    return f"{text}; one that was given back can be had again in {(soonest - now).total_seconds():.0f} s"
