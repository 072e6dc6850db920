"""A network in OVN: a switch, its router port with the gateway's address, and what DHCP tells its guests."""

from __future__ import annotations

from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Final
from uuid import UUID

from cumulet.fabric import FabricError, NetworkSpec
from cumulet.fabric.ovn import names
from cumulet.fabric.ovn.dns import DOMAIN, correct_names
from cumulet.fabric.ovn.lookup import find_network, find_router, ports_in, router_of, router_spec
from cumulet.fabric.ovn.ports import declare_port, dhcp_part
from cumulet.fabric.ovn.replica import ID, PART, Row, mark
from cumulet.fabric.ovn.rows import Draft, View

LEASE_SECONDS: Final = 12 * 3600
"""Guests keep their address this long while OVN's controller on their host is away."""
ANNOUNCE_SECONDS: Final = 60
"""A guest that started while its network was stopped has its IPv6 address this long after the network is back."""
UNKNOWN: Final = NetworkSpec(
    id=UUID(int=0),
    router_id=UUID(int=0),
    range=IPv4Network("0.0.0.0/0"),
    gateway=IPv4Address(0),
    gateway_mac="",
    resolvers=(),
    mtu=0,
    local_range=IPv6Network("::/0"),
    joined=False,
)
"""In the place of a network that somebody else has changed."""


def put_network(view: View, spec: NetworkSpec) -> None:
    """Make it so, with the ports in it, whose addresses follow from it, and let DNS know of them."""
    network = find_network(view, spec.id)
    declare_network(view, spec)
    for port in ports_in(view, network) if network else ():
        with suppress(FabricError):  # a group of the port is gone: the port shows it
            declare_port(view, port)
    correct_names(view, find_router(view, spec.router_id))


def remove_network(view: View, network_id: UUID) -> None:
    """Remove it with the ports in it and their names."""
    network = find_network(view, network_id)
    router = network and router_of(view, network)
    for port in list(view.held("Logical_Switch_Port", network)) if network else ():
        if mark(port, PART) == "port":
            view.remove_owner(mark(port, ID))
    view.remove_owner(network_id)
    if router:
        correct_names(view, router)


def declare_network(view: View, spec: NetworkSpec) -> None:
    """Its rows; FabricError when its router is not there."""
    router = find_router(view, spec.router_id)
    if router is None:
        raise FabricError(f"network {spec.id}: there is no router {spec.router_id}")
    draft = Draft(view, spec.id)
    switch = draft.row(
        "Logical_Switch",
        "network",
        spec=spec,
        name=names.network(spec.id),
        dns_records=[],
        other_config={},
        acls=[_declare_dhcp_route(draft, spec)],
    )
    if spec.joined:
        _declare_router_port(draft, router, switch, spec)
    else:
        _declare_gateway_localport(draft, switch, spec)
    for leads_out in (True, False):
        options = dhcp_options(spec, leads_out=leads_out)
        draft.row("DHCP_Options", dhcp_part(leads_out=leads_out), cidr=str(spec.range), options=options)
    draft.finish()


def _declare_dhcp_route(draft: Draft, spec: NetworkSpec) -> Row:
    """The rule over those of the groups: a guest may ask for its address, and OVN lets its own answer pass."""
    return draft.row(
        "ACL",
        "dhcp",
        direction="from-lport",
        priority=1002,
        match=f"udp.src == 68 && udp.dst == 67 && ip4.dst == {{255.255.255.255, {spec.gateway}}}",
        action="allow",
        options={},
    )


def _declare_router_port(draft: Draft, router: Row, switch: Row, spec: NetworkSpec) -> None:
    """The gateway, its plug in the switch, and the translation of the range to the router's external address."""
    router_port_name = names.router_port(spec.id)
    draft.row(
        "Logical_Router_Port",
        "gateway",
        inside=[(router, "ports")],
        name=router_port_name,
        mac=spec.gateway_mac,
        networks=[
            f"{spec.gateway}/{spec.range.prefixlen}",
            f"{spec.local_range[1]}/{spec.local_range.prefixlen}",
        ],
        ipv6_ra_configs=announcements(spec),
        enabled=[],
    )
    draft.row(
        "Logical_Switch_Port",
        "plug",
        inside=[(switch, "ports")],
        name=names.switch_router_port(spec.id),
        type="router",
        addresses=["router"],
        options={"router-port": router_port_name},
        enabled=[],
    )
    draft.row(
        "NAT",
        "outward",
        inside=[(router, "nat")],
        type="snat",
        logical_ip=str(spec.range),
        external_ip=_external_address(router),
    )


def _declare_gateway_localport(draft: Draft, switch: Row, spec: NetworkSpec) -> None:
    """Who answers for the gateway's MAC where there is none: guests prolong their leases with it, and OVN sees to that."""
    draft.row(
        "Logical_Switch_Port",
        "stand-in",
        inside=[(switch, "ports")],
        name=names.gateway_localport(spec.id),
        type="localport",
        addresses=[f"{spec.gateway_mac} {spec.gateway}"],
        options={},
        enabled=[],
    )


def _external_address(router: Row) -> str:
    """The router's own external address, as its spec has it."""
    spec = router_spec(router)
    if spec is None:
        raise FabricError(f"router {router.name} was changed by somebody else; put it again first")
    return str(spec.address)


def announcements(spec: NetworkSpec) -> dict[str, str]:
    """What the router tells guests about IPv6, when asked and every minute, in OVN's words."""
    return {
        "address_mode": "slaac",
        "mtu": str(spec.mtu),
        "send_periodic": "true",
        "max_interval": str(ANNOUNCE_SECONDS),
    }


def dhcp_options(spec: NetworkSpec, *, leads_out: bool) -> dict[str, str]:
    """What DHCP tells the guests, in OVN's words."""
    options = {
        "server_id": str(spec.gateway),
        "server_mac": spec.gateway_mac,
        "lease_time": str(LEASE_SECONDS),
        "mtu": str(spec.mtu),
        "domain_name": f'"{DOMAIN}"',
    }
    if leads_out:
        options["router"] = str(spec.gateway)
    if spec.resolvers:
        options["dns_server"] = "{" + ", ".join(map(str, spec.resolvers)) + "}"
    return options
