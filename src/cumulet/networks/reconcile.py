"""Networks and NICs on the fabric: making them so, from whatever is there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv6Network
from typing import Final
from uuid import UUID
from zlib import crc32

from cumulet.catalogue import Catalogue, DataCenter
from cumulet.fabric import ExternalSpec, Fabric, NetworkSpec, PortSpec, RouterSpec
from cumulet.hosts import Leftovers
from cumulet.networks.allocate import external_address, nics_of
from cumulet.networks.model import Network, NetworkState, Nic, Router
from cumulet.reconcile import NotYet, Run

MTU: Final = 1442
"""What a guest may send so that a tunnel between hosts fits in 1500 bytes (58 of Geneve over IPv4)."""


@dataclass(frozen=True, slots=True)
class Fabrics:
    """What moves packets for this cloud, and how a data center reaches the world."""

    catalogue: Catalogue
    fabric: Fabric
    open_way_out: Callable[[ExternalSpec], None]
    """Prepares the host's end of a data center's external range."""
    bridges: Mapping[str, str]
    """Name of the external bridge by data center."""
    leftovers: Leftovers = field(default_factory=Leftovers)

    def external_spec(self, data_center: DataCenter) -> ExternalSpec:
        """Describe a data center's way out."""
        range_ = data_center.external_range
        return ExternalSpec(bridge=self.bridges[data_center.id], range=range_, gateway=range_[1])


def reconcile_network(run: Run, fabrics: Fabrics) -> datetime | None:
    """Bring one network, with its router and its data center's way out, to the fabric."""
    with run.reading() as db:
        network = db.get(Network, run.id)
        if network is None:
            return None
        router = db.get_one(Router, network.router_id)
        router_address = external_address(db, router.id)
    data_center = fabrics.catalogue.find_data_center(network.data_center_id)
    if router_address is None:
        raise NotYet("the router has no external address", 5)
    ensure_way_out(fabrics, data_center)
    fabrics.fabric.put_router(router_spec(router, router_address, fabrics.external_spec(data_center)))
    fabrics.fabric.put_network(network_spec(network, data_center))
    if network.state is not NetworkState.ACTIVE:
        with run.writing() as db:
            db.get_one(Network, network.id).state = NetworkState.ACTIVE
    return None


def ensure_way_out(fabrics: Fabrics, data_center: DataCenter) -> None:
    """Make the data center's external switch and the host's end of it."""
    spec = fabrics.external_spec(data_center)
    fabrics.open_way_out(spec)
    fabrics.fabric.put_external(spec)


def ensure_ports(run: Run, vm_id: UUID, fabrics: Fabrics) -> None:
    """Make the fabric's ports of a VM's cards; NotYet while a network of theirs is in the making."""
    with run.reading() as db:
        nics = nics_of(db, vm_id)
        states = {nic.network_id: db.get_one(Network, nic.network_id).state for nic in nics}
        specs = [port_spec(nic, external_address(db, nic.id)) for nic in nics]
    if any(state is not NetworkState.ACTIVE for state in states.values()):
        raise NotYet("making the network", 0.1)
    for spec in specs:
        fabrics.fabric.put_port(spec)


def remove_ports(run: Run, vm_id: UUID, fabrics: Fabrics) -> None:
    """Remove the fabric's ports of a VM's cards."""
    with run.reading() as db:
        nics = nics_of(db, vm_id)
    for nic in nics:
        fabrics.fabric.remove_port(nic.id)


def router_spec(router: Router, address: IPv4Address, external: ExternalSpec) -> RouterSpec:
    """Describe a router to the fabric."""
    return RouterSpec(id=router.id, external=external, address=address, mac=router.mac)


def network_spec(network: Network, data_center: DataCenter) -> NetworkSpec:
    """Describe a network to the fabric."""
    return NetworkSpec(
        id=network.id,
        router_id=network.router_id,
        range=network.subnet,
        gateway=network.gateway,
        gateway_mac=network.gateway_mac,
        resolvers=data_center.resolvers or (network.gateway,),
        mtu=MTU,
        local_range=local_range(network.id),
        joined=True,
    )


def port_spec(nic: Nic, external: IPv4Address | None) -> PortSpec:
    """Describe a card to the fabric."""
    return PortSpec(
        id=nic.id,
        network_id=nic.network_id,
        mac=nic.mac,
        address=IPv4Address(nic.address),
        hostname=nic.hostname,
        external_address=external,
        leads_out=True,
        groups=frozenset(),
    )


def local_range(network_id: UUID) -> IPv6Network:
    """Derive a network's unique local addresses from its id (RFC 4193): fd00::/8 and 56 bits that nobody else has."""
    return IPv6Network((b"\xfd" + network_id.bytes[:7] + bytes(8), 64))


def bridge_name(installation: str, data_center_id: str) -> str:
    """Name a data center's external bridge: at most 15 characters, unlike any other installation's."""
    return f"{bridge_prefix(installation)}{crc32(data_center_id.encode()) & 0xFFFF:04x}"


def bridge_prefix(installation: str) -> str:
    """Say how the names of an installation's external bridges begin."""
    return f"cx-{installation[:6]}-"
