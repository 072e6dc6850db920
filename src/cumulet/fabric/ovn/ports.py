"""A NIC's place in OVN: a port that lets only its own MAC and addresses pass, and its external address.

The MAC that answers for an external address is made from that address: when the address goes to another VM, whoever
remembers the MAC still reaches the right one.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Final
from uuid import UUID

from cumulet.fabric import FabricError, PortSpec
from cumulet.fabric.ovn.groups import find_group
from cumulet.fabric.ovn.networks import find_network, router_of
from cumulet.fabric.ovn.replica import Row
from cumulet.fabric.ovn.routers import correct_names
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
    tell_port(view, spec)
    correct_names(view, router_of(view, find_network(view, spec.network_id)))


def remove_port(view: View, port_id: UUID) -> None:
    """Remove it with its name."""
    port = view.find("Logical_Switch_Port", port_id, "port")
    routers = [router_of(view, network) for network, _ in view.holders(port)] if port else []
    view.remove_owner(port_id)
    for router in filter(None, routers):
        correct_names(view, router)


def tell_port(view: View, spec: PortSpec) -> None:
    """Its rows; FabricError when its network, that network's router or a group is not there."""
    network = find_network(view, spec.network_id)
    if network is None:
        raise FabricError(f"port {spec.id}: there is no network {spec.network_id}")
    router = router_of(view, network)
    if router is None:
        raise FabricError(f"port {spec.id}: the router of network {spec.network_id} is not there")
    groups = [_group(view, spec, group_id) for group_id in spec.groups]
    draft = Draft(view, spec.id)
    draft.row(
        "Logical_Switch_Port",
        "port",
        spec=spec,
        inside=[(holder, "ports") for holder in (network, *groups)],
        name=str(spec.id),
        type="",
        addresses=[f"{spec.mac} {spec.address}"],
        port_security=[f"{spec.mac} {spec.address} {link_local_address(spec.mac)}"],
        dhcpv4_options=view.owned("DHCP_Options", spec.network_id),
        options={"hostname": f'"{spec.hostname}"'},
        enabled=[],
    )
    if spec.external_address:
        _tell_external_address(draft, router, spec, spec.external_address)
    draft.finish()


def _group(view: View, spec: PortSpec, group_id: UUID) -> Row:
    """A group of the port."""
    group = find_group(view, group_id)
    if group is None:
        raise FabricError(f"port {spec.id}: there is no group {group_id}")
    return group


def _tell_external_address(draft: Draft, router: Row, spec: PortSpec, address: IPv4Address) -> None:
    """The translation both ways, done on the host where the VM is."""
    draft.row(
        "NAT",
        "external",
        inside=[(router, "nat")],
        type="dnat_and_snat",
        external_ip=str(address),
        external_mac=[external_mac(address)],
        logical_ip=str(spec.address),
        logical_port=[str(spec.id)],
    )


def external_mac(address: IPv4Address) -> str:
    """The locally administered MAC that answers for an external address."""
    return "0a:c1:" + ":".join(f"{byte:02x}" for byte in address.packed)


def link_local_address(mac: str) -> str:
    """The IPv6 address that a guest makes from its MAC (RFC 4291, appendix A): the only one it may use."""
    octets = [int(octet, 16) for octet in mac.split(":")]
    octets[0] ^= 0x02
    octets[3:3] = [0xFF, 0xFE]
    groups = (f"{high << 8 | low:x}" for high, low in zip(octets[::2], octets[1::2], strict=True))
    return "fe80::" + ":".join(groups)
