"""Rules of groups in the language of OVN's matches (ovn-sb(5), "Logical_Flow TABLE": match)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network

from cumulet.fabric import IpProtocol, RuleSpec
from cumulet.fabric.port_masks import ALL_BITS, port_masks


def match_members(port_group: str, *, inbound: bool) -> str:
    """Every packet to, or from, the ports of a group."""
    return f"{'outport' if inbound else 'inport'} == @{port_group}"


def match_rule(rule: RuleSpec, port_group: str) -> str:
    """The packets that a rule is about."""
    parts = [match_members(port_group, inbound=rule.inbound), match_protocol(rule)]
    if rule.peer is not None:
        parts.append(match_peer(rule.peer, inbound=rule.inbound))
    return " && ".join(parts)


def match_peer(peer: IPv4Network | IPv6Network, *, inbound: bool) -> str:
    """Those from, or to, a range."""
    return f"ip{peer.version}.{'src' if inbound else 'dst'} == {peer}"


def match_protocol(rule: RuleSpec) -> str:
    """Those of a rule's protocol with its ports or type."""
    match rule.protocol:
        case IpProtocol.ALL:
            return "ip"
        case IpProtocol.IPSEC:
            return "(ip.proto == {50, 51} || udp.dst == {500, 4500})"
        case IpProtocol.ICMP | IpProtocol.ICMPV6:
            name = "icmp4" if rule.protocol is IpProtocol.ICMP else "icmp6"
            return name if rule.icmp_type is None else f"{name}.type == {rule.icmp_type}"
        case IpProtocol.TCP | IpProtocol.UDP:
            return match_ports(rule.protocol.value, rule.ports)


def match_ports(protocol: str, ports: Sequence[tuple[int, int]]) -> str:
    """Those to some ports, or all of `tcp` or `udp`."""
    if not ports:
        return protocol
    field = f"{protocol}.dst"
    masked = (
        f"{field} == {value}" if mask == ALL_BITS else f"{field} == {value:#x}/{mask:#x}"
        for value, mask in port_masks(ports)
    )
    return f"({' || '.join(masked)})"
