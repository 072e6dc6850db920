"""Taking and giving back networks, NICs and addresses, in the transaction of the VM they are for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from ipaddress import IPv4Address
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from cumulet.catalogue import DataCenter
from cumulet.errors import Exhausted, Refused
from cumulet.networks.addresses import capacity, mac_of, pick_address
from cumulet.networks.model import ExternalAddress, Network, NetworkState, Nic, Router
from cumulet.reconcile import wake

DEFAULT_NETWORK: Final = "default"


def default_network(db: Session, project_id: str, data_center: DataCenter, *, now: datetime) -> Network:
    """Find the project's own network in a data center, or make it together with the project's router."""
    name = f"{DEFAULT_NETWORK}-{data_center.id}"
    found = db.scalar(select(Network).where(Network.project_id == project_id, Network.name == name))
    if found is not None:
        return found
    router = _router(db, project_id, data_center)
    id = uuid4()
    network = Network(
        id=id,
        project_id=project_id,
        name=name,
        data_center_id=data_center.id,
        router_id=router.id,
        range=str(data_center.network_range),
        gateway_mac=mac_of(id),
        state=NetworkState.CREATING,
        create_time=now,
    )
    db.add(network)
    db.flush()
    wake(db, "network", id, now=now)
    return network


def add_nic(db: Session, vm_id: UUID, network: Network, *, hostname: str, position: int = 0) -> Nic:
    """Give a VM a card on a network with an address of its own; Refused when the network is full."""
    taken = db.scalars(select(Nic.address).where(Nic.network_id == network.id)).all()
    address = pick_address(network.subnet, taken)
    if address is None:
        raise Refused(
            f"network {network.name!r} is full: all {capacity(network.subnet)} addresses of {network.range} are taken",
            reason="NETWORK_NOT_READY",
            subject=network.name,
        )
    id = uuid4()
    nic = Nic(
        id=id,
        vm_id=vm_id,
        network_id=network.id,
        position=position,
        mac=mac_of(id),
        address=str(address),
        hostname=hostname,
    )
    db.add(nic)
    db.flush()
    return nic


def take_external(db: Session, holder_id: UUID, data_center: DataCenter) -> IPv4Address:
    """Take an address of the data center's external range; Exhausted when none is free."""
    taken = select(ExternalAddress.address).where(ExternalAddress.data_center_id == data_center.id)
    address = pick_address(data_center.external_range, db.scalars(taken).all())
    if address is None:
        raise Exhausted(
            f"data center {data_center.id!r} has no external address left in {data_center.external_range}"
        )
    db.add(ExternalAddress(data_center_id=data_center.id, address=str(address), holder_id=holder_id))
    db.flush()
    return address


def external_address(db: Session, holder_id: UUID) -> IPv4Address | None:
    """Look up the external address that a NIC or router holds."""
    address = db.scalar(select(ExternalAddress.address).where(ExternalAddress.holder_id == holder_id))
    return IPv4Address(address) if address else None


def free_external(db: Session, data_center: DataCenter) -> int:
    """Count the external addresses that can still be given out."""
    taken = (
        select(func.count())
        .select_from(ExternalAddress)
        .where(ExternalAddress.data_center_id == data_center.id)
    )
    return max(capacity(data_center.external_range) - (db.scalar(taken) or 0), 0)


def nics_of(db: Session, vm_id: UUID) -> Sequence[Nic]:
    """List a VM's cards in the order they were asked for."""
    return db.scalars(select(Nic).where(Nic.vm_id == vm_id).order_by(Nic.position)).all()


def release_nics(db: Session, vm_id: UUID) -> None:
    """Give a VM's cards and addresses back."""
    nics = select(Nic.id).where(Nic.vm_id == vm_id)
    db.execute(delete(ExternalAddress).where(ExternalAddress.holder_id.in_(nics)))
    db.execute(delete(Nic).where(Nic.vm_id == vm_id))


def _router(db: Session, project_id: str, data_center: DataCenter) -> Router:
    wanted = select(Router).where(Router.project_id == project_id, Router.data_center_id == data_center.id)
    router = db.scalar(wanted)
    if router is None:
        id = uuid4()
        router = Router(id=id, project_id=project_id, data_center_id=data_center.id, mac=mac_of(id))
        db.add(router)
        db.flush()
        take_external(db, id, data_center)
    return router
