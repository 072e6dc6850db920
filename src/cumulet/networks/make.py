"""Making a network's rows, with its project's router where that is the first: in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network
from typing import Final
from uuid import UUID, uuid4

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cumulet.catalogue import DataCenter
from cumulet.db import fetch_copies, rows_of
from cumulet.errors import Refused
from cumulet.networks.addresses import mac_of
from cumulet.networks.allocate import take_external
from cumulet.networks.model import Network, Router
from cumulet.networks.wire import NetworkState
from cumulet.quotas import Allowance
from cumulet.reconcile import Kind, wake
from cumulet.resource import Wanted

DEFAULT_NETWORK: Final = "default"
BY_NAME: Final = select(rows_of(Network)).where(
    Network.project_id == bindparam("project_id"), Network.name == bindparam("name")
)


def default_network_name(data_center_id: str) -> str:
    """Name the network of VMs that ask for none."""
    return f"{DEFAULT_NETWORK}-{data_center_id}"


def default_network(db: Session, allowance: Allowance, data_center: DataCenter, *, now: datetime) -> Network:
    """Find the project's own network in a data center, to look at, or make it; Refused while it is stopped or goes away."""
    name = default_network_name(data_center.id)
    for found in fetch_copies(db, Network, BY_NAME, project_id=allowance.project_id, name=name):
        return usable(found, passing=found.wanted is Wanted.DELETED)
    return make_network(db, allowance, name, data_center, range_=data_center.network_range, now=now)


def make_network(
    db: Session,
    allowance: Allowance,
    name: str,
    data_center: DataCenter,
    *,
    range_: IPv4Network,
    now: datetime,
) -> Network:
    """Write down a new network and wake it; Exhausted when the project may have no further one."""
    allowance.take(db, {"networks": 1})
    id, project_id = uuid4(), allowance.project_id
    network = Network(
        id=id,
        project_id=project_id,
        name=name,
        data_center_id=data_center.id,
        router_id=_router_id(db, project_id, data_center, now=now),
        range=str(range_),
        gateway_mac=mac_of(id),
        price=data_center.network_price_hr,
        wanted=Wanted.ACTIVE,
        state=NetworkState.CREATING,
        create_time=now,
    )
    db.add(network)
    db.flush()
    wake(db, Kind.NETWORK, id, now=now)
    return network


def usable(network: Network, *, passing: bool = False) -> Network:
    """Give the network if VMs may be put on it; Refused when it is stopped or goes away, and maybe comes anew."""
    if network.wanted is not Wanted.ACTIVE:
        raise Refused(
            f"network {network.name!r} is {network.state.value} and must be ACTIVE",
            reason="NETWORK_NOT_READY",
            subject=network.name,
            passing=passing,
        )
    return network


def _router_id(db: Session, project_id: str, data_center: DataCenter, *, now: datetime) -> UUID:
    """Find the project's router in a data center, or make it."""
    wanted = select(Router.id).where(Router.project_id == project_id, Router.data_center_id == data_center.id)
    id = db.scalar(wanted)
    if id is None:
        id = uuid4()
        db.add(Router(id=id, project_id=project_id, data_center_id=data_center.id, mac=mac_of(id)))
        db.flush()
        take_external(db, id, data_center, project_id=None, now=now)
    return id
