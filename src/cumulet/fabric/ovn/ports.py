"""A NIC's place in OVN: a port that lets only its own MAC and addresses pass, its groups, and its external address."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final
from uuid import UUID

from cumulet.fabric import FabricError, NetworkSpec, PortSpec
from cumulet.fabric.addresses import own_address
from cumulet.fabric.ovn.addresses import LINK_LOCAL, external_mac
from cumulet.fabric.ovn.dns import correct_names
from cumulet.fabric.ovn.lookup import (
    find_group,
    find_network,
    find_port,
    find_router,
    network_spec,
    router_of,
    router_spec,
)
from cumulet.fabric.ovn.replica import Row
from cumulet.fabric.ovn.rows import Draft, View

UNKNOWN: Final = PortSpec(
    id=UUID(int=0),
    network_id=UUID(int=0),
    mac="",
    address=IPv4Address(0),
    hostname="",
    external_address=None,
    leads_out=False,
    groups=frozenset(),
)
"""In the place of a port that somebody else has changed."""


def put_port(view: View, spec: PortSpec) -> None:
    """Make it so, and let DNS know its name."""
    declare_port(view, spec)
    correct_names(view, router_of(view, find_network(view, spec.network_id)))


def remove_port(view: View, port_id: UUID) -> None:
    """Remove it with its name."""
    port = find_port(view, port_id)
    routers = [router_of(view, holder) for holder, _ in view.holders(port)] if port else []
    view.remove_owner(port_id)
    for router in filter(None, routers):
        correct_names(view, router)


def declare_port(view: View, spec: PortSpec) -> None:
    """Its rows; FabricError when its network, that network's router or a group is not there."""
    network, within, router = _place(view, spec)
    groups = [_group(view, spec, group_id) for group_id in spec.groups]
    addresses = [f"{spec.mac} {spec.address} {' '.join(own_addresses(spec, within))}"]
    draft = Draft(view, spec.id)
    draft.row(
        "Logical_Switch_Port",
        "port",
        spec=spec,
        inside=[(holder, "ports") for holder in (network, *groups)],
        name=str(spec.id),
        type="",
        addresses=addresses,
        port_security=addresses,
        dhcpv4_options=_dhcp_options(view, spec),
        options={"hostname": f'"{spec.hostname}"', **_whereabouts(spec)},
        enabled=[],
    )
    if spec.external_address and within.joined:
        _declare_external_address(draft, router, spec, spec.external_address)
    draft.finish()


def _place(view: View, spec: PortSpec) -> tuple[Row, NetworkSpec, Row]:
    """The switch of the port's network, what the network is, and its router."""
    network = find_network(view, spec.network_id)
    if network is None:
        raise FabricError(f"port {spec.id}: there is no network {spec.network_id}")
    within = network_spec(network)
    if within is None:
        raise FabricError(
            f"port {spec.id}: network {spec.network_id} was changed by somebody else; put it again first"
        )
    router = find_router(view, within.router_id)
    if router is None:
        raise FabricError(f"port {spec.id}: the router of network {spec.network_id} is not there")
    return network, within, router


def own_addresses(spec: PortSpec, network: NetworkSpec) -> tuple[str, ...]:
    """The IPv6 addresses that a guest makes for its NIC."""
    return tuple(str(own_address(range_, spec.mac)) for range_ in (LINK_LOCAL, network.local_range))


def _whereabouts(spec: PortSpec) -> dict[str, str]:
    """Where it may be plugged in; who moves sends a RARP from its new place, and packets are taken there from then on."""
    if not spec.hosts:
        return {}
    requested = {"requested-chassis": ",".join(spec.hosts)}
    return requested | ({"activation-strategy": "rarp"} if len(spec.hosts) > 1 else {})


def _dhcp_options(view: View, spec: PortSpec) -> list[Row]:
    """What DHCP tells the guest."""
    row = view.find("DHCP_Options", spec.network_id, dhcp_part(leads_out=spec.leads_out))
    return [row] if row else []


def dhcp_part(*, leads_out: bool) -> str:
    """The part that the DHCP options play which lead out of the network, or do not."""
    return "dhcp" if leads_out else "dhcp-inside"


def _group(view: View, spec: PortSpec, group_id: UUID) -> Row:
    """A group of the port."""
    group = find_group(view, group_id)
    if group is None:
        raise FabricError(f"port {spec.id}: there is no group {group_id}")
    return group


def _declare_external_address(draft: Draft, router: Row, spec: PortSpec, address: IPv4Address) -> None:
    """The translation both ways: where the VM is if the range is there, and otherwise by whoever carries the router's."""
    leads_out = router_spec(router)
    here = leads_out is not None and leads_out.external.everywhere
    draft.row(
        "NAT",
        "external",
        inside=[(router, "nat")],
        type="dnat_and_snat",
        external_ip=str(address),
        external_mac=[external_mac(address)] if here else [],
        logical_ip=str(spec.address),
        logical_port=[str(spec.id)] if here else [],
    )
