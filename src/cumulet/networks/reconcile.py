"""Networks and NICs on the fabric: making them so, from whatever is there.

CREATING ──▶ ACTIVE ◀──▶ STOPPED        (any) ──▶ DELETING ──▶ gone
            (STARTING, STOPPING on the way)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID
from zlib import crc32

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, DataCenter
from cumulet.db import fetch_columns
from cumulet.events import EventName
from cumulet.fabric import ExternalSpec, Fabric, PortSpec
from cumulet.hosts import Orphans
from cumulet.networks.allocate import external_address, give_back_externals, nics_of
from cumulet.networks.model import Network, Nic, Router
from cumulet.networks.specs import PortSpecs, network_spec, router_spec
from cumulet.networks.wire import NetworkState
from cumulet.projects import lock_project
from cumulet.reconcile import Kind, NotYet, Run, wake
from cumulet.resource import Event, Wanted, changing, log_event

STATES: Final[Mapping[Wanted, NetworkState]] = {
    Wanted.ACTIVE: NetworkState.ACTIVE,
    Wanted.STOPPED: NetworkState.STOPPED,
}
SEEN_AS: Final = {
    NetworkState.ACTIVE: EventName.NETWORK_ACTIVE,
    NetworkState.STOPPED: EventName.NETWORK_STOPPED,
}
IN_THE_MAKING: Final = (
    select(Network.id)
    .join(Nic, Nic.network_id == Network.id)
    .where(Nic.vm_id == bindparam("vm_id"), Network.state == NetworkState.CREATING)
)


@dataclass(frozen=True, slots=True)
class Fabrics:
    """What moves packets for this cloud, and how a data center reaches the world."""

    catalogue: Catalogue
    fabric: Fabric
    open_uplink: Callable[[DataCenter, str], None]
    """Prepares the hosts' ends of a data center's external range, which are bridges of this name."""
    bridges: Mapping[str, str]
    """Name of the external bridge by data center."""
    orphans: Orphans = field(default_factory=Orphans)
    port_specs: PortSpecs = field(default_factory=PortSpecs)

    def external_spec(self, data_center: DataCenter) -> ExternalSpec:
        """Describe a data center's uplink, by the hosts that have its bridge now."""
        bridge, chassis = self.bridges[data_center.id], self.fabric.chassis()
        carriers = tuple(one.name for one in chassis if bridge in one.bridges)
        return ExternalSpec(
            bridge=bridge,
            range=data_center.external_range,
            gateway=data_center.external_gateway,
            carriers=carriers,
            everywhere=len(carriers) == len(chassis)
            and (bool(data_center.external_bridge) or len(chassis) == 1),
        )


def reconcile_network(run: Run, fabrics: Fabrics) -> datetime | None:
    """Bring one network, with its router and its data center's uplink, to where its project wants it."""
    with run.reading() as db:
        network = db.get(Network, run.id)
    if network is None:
        return None
    if network.wanted is Wanted.DELETED:
        tear_down(run, network, fabrics)
        return None
    data_center = fabrics.catalogue.find_data_center(network.data_center_id)
    external = ensure_uplink(fabrics, data_center)
    ensure_router(run, network, fabrics, external)
    fabrics.fabric.put_network(network_spec(network, data_center))
    note_state(run, network)
    return None


def ensure_uplink(fabrics: Fabrics, data_center: DataCenter) -> ExternalSpec:
    """Make the data center's external switch and the hosts' end of it, and say what they are then."""
    fabrics.open_uplink(data_center, fabrics.bridges[data_center.id])
    spec = fabrics.external_spec(data_center)
    if not spec.carriers:
        raise NotYet("no host leads out of the data center yet", 0.5)
    fabrics.fabric.put_external(spec)
    return spec


def ensure_router(run: Run, network: Network, fabrics: Fabrics, external: ExternalSpec) -> None:
    """Make the network's router."""
    with run.reading() as db:
        router = db.get_one(Router, network.router_id)
        address = external_address(db, router.id)
    if address is None:
        raise NotYet("the router has no external address", 5)
    fabrics.fabric.put_router(router_spec(router, address, external))


def note_state(run: Run, network: Network) -> None:
    """Write the state down when it changed, unless its owner requested something else meanwhile."""
    state = STATES[network.wanted]
    was = network.state
    if was is state:
        return
    with changing(run, network, {"state": state}, Event(SEEN_AS[state], state.name.lower())) as db:
        if was is NetworkState.CREATING:
            lock_project(db, network.project_id)  # no VM gets a NIC there unseen meanwhile
            wake_vms(db, run, network)


def wake_vms(db: Session, run: Run, network: Network) -> None:
    """Wake the VMs that have waited for a network, in one order for all who wake many."""
    on_it = select(Nic.vm_id).where(Nic.network_id == network.id).distinct().order_by(Nic.vm_id)
    for vm_id in db.scalars(on_it).all():
        wake(db, Kind.VM, vm_id, now=run.now)


def tear_down(run: Run, network: Network, fabrics: Fabrics) -> None:
    """Remove the network, and the project's router with its address when this was the last one there."""
    fabrics.fabric.remove_network(network.id)
    with run.writing() as db:
        lock_project(db, network.project_id)
        row = db.get_one(Network, network.id)
        log_event(db, row, EventName.NETWORK_DELETED, "deleted", now=run.now)
        db.delete(row)
        db.flush()
        is_last = db.scalar(select(Network.id).where(Network.router_id == network.router_id)) is None
        if is_last:
            give_back_externals(db, [network.router_id], now=run.now)
            db.delete(db.get_one(Router, network.router_id))
    if (
        is_last
    ):  # who dies before this line leaves a router without a row, which the look at the fabric removes
        fabrics.fabric.remove_router(network.router_id)


def networks_made(db: Session, vm_id: UUID) -> bool:
    """Whether none of the networks that a VM's NICs are on is still in the making."""
    return not fetch_columns(db, IN_THE_MAKING, vm_id=vm_id)


def ensure_ports(ports: Iterable[PortSpec], fabrics: Fabrics) -> None:
    """Make the fabric's ports of a VM's NICs."""
    for port in ports:
        fabrics.fabric.put_port(port)


def remove_ports(run: Run, vm_id: UUID, fabrics: Fabrics) -> None:
    """Remove the fabric's ports of a VM's NICs."""
    with run.reading() as db:
        nics = nics_of(db, vm_id)
    for nic in nics:
        fabrics.fabric.remove_port(nic.id)


def bridge_name(installation: str, data_center_id: str) -> str:
    """Name a data center's external bridge: at most 15 characters, unlike any other installation's."""
    return f"{bridge_prefix(installation)}{crc32(data_center_id.encode()) & 0xFFFF:04x}"


def bridge_prefix(installation: str) -> str:
    """Say how the names of an installation's external bridges begin."""
    return f"cx-{installation[:6]}-"
