"""What a rule may say, and what it says to the fabric: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

import msgspec

from cumulet.errors import Invalid
from cumulet.fabric import IpProtocol, RuleSpec
from cumulet.fabric.port_masks import merged, port_masks
from cumulet.security_groups.wire import Protocol, Rule, RuleType

MOST_RULES: Final = 1000
MOST_PORTS: Final = 100
"""Ports and ranges of one rule."""
MOST_MATCHES: Final = 4000
"""Of a group: what its rules expand to (see `matches_of`)."""
RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}")
PORTS: Final = re.compile(r"\s*(\d{1,5})\s*(?:[:-]\s*(\d{1,5})\s*)?", re.ASCII)
ICMP_TYPE: Final = re.compile(r"[0-9]{1,3}")
PORTS_RULE: Final = f"ports from 1 to 65535 and ranges, such as 80,443 or 1024:2048, at most {MOST_PORTS}"
RANGE_RULE: Final = "an address or a range, such as 192.0.2.7, 10.0.0.0/8 or 2001:db8::/32"
ICMP_TYPES: Final = range(256)
MAPPED: Final = IPv6Network("::ffff:0:0/96")
"""IPv4 as programs write it that speak IPv6 alone; no packet has such an address."""
SPOKEN: Final[Mapping[Protocol, IpProtocol]] = {
    Protocol.ALL: IpProtocol.ALL,
    Protocol.TCP: IpProtocol.TCP,
    Protocol.UDP: IpProtocol.UDP,
    Protocol.ICMP: IpProtocol.ICMP,
    Protocol.ICMPV6: IpProtocol.ICMPV6,
    Protocol.IPSEC: IpProtocol.IPSEC,
}
WITH_PORTS: Final = (Protocol.TCP, Protocol.UDP)
WITH_TYPES: Final = (Protocol.ICMP, Protocol.ICMPV6)


def plan_rules(rules: Sequence[Rule]) -> list[Rule]:
    """Check rules, spell them in one way, and give each without an id one made of what it says.

    Invalid names the field, or tells what the rules expand to.
    """
    if len(rules) > MOST_RULES:
        raise Invalid.field("rules", f"{len(rules)} rules", f"at most {MOST_RULES}")
    planned: dict[str, Rule] = {}
    for index, rule in enumerate(rules):
        field = f"rules[{index}]"
        check_rule(rule, field)
        rule.ip_range_cidr = plain_range(rule.ip_range_cidr, f"{field}.ipRangeCidr")
        id = rule.id or free_id(rule, planned)
        if id in planned:
            raise Invalid.field(f"{field}.id", rule.id, "an id that no other rule of the group has")
        planned[id] = msgspec.structs.replace(rule, id=id)
    check_matches(sum(matches_of(read_rule(rule)) for rule in planned.values()))
    return list(planned.values())


def check_matches(count: int) -> None:
    """Refuse rules that expand to too much: switches hold it all, and all their owners wait while they take it in."""
    if count > MOST_MATCHES:
        accepted = (
            f"at most {MOST_MATCHES}: fewer ranges of ports, or ones that begin and end at powers of two"
        )
        raise Invalid.field("rules", f"what expands to {count} matches", accepted)


def matches_of(rule: RuleSpec) -> int:
    """Count what a rule expands to in a switch: its values of ports under masks, for each kind of IP it is about."""
    kinds = 1 if rule.peer or rule.protocol in {IpProtocol.ICMP, IpProtocol.ICMPV6} else 2
    of_protocol = 4 if rule.protocol is IpProtocol.IPSEC else 1
    return kinds * (len(port_masks(rule.ports)) or of_protocol)


def check_rule(rule: Rule, field: str) -> None:
    """Refuse a rule that says nothing, or what its protocol does not know."""
    if rule.id and not RULE_ID.fullmatch(rule.id):
        raise Invalid.field(f"{field}.id", rule.id, "1 to 63 letters, digits and any of _ . : -")
    if rule.protocol is Protocol.UNKNOWN:
        accepted = ", ".join(str(protocol.value) for protocol in SPOKEN)
        raise Invalid.field(f"{field}.protocol", rule.protocol.value, f"one of {accepted}")
    if rule.rule_type is RuleType.UNKNOWN:
        accepted = f"{RuleType.INBOUND.value} or {RuleType.OUTBOUND.value}"
        raise Invalid.field(f"{field}.ruleType", rule.rule_type.value, accepted)
    if rule.ports and rule.protocol not in WITH_PORTS:
        raise Invalid.field(
            f"{field}.ports", rule.ports, f"none with {rule.protocol.value}, only with TCP and UDP"
        )
    if rule.icmp_type and rule.protocol not in WITH_TYPES:
        raise Invalid.field(f"{field}.icmpType", rule.icmp_type, f"none with {rule.protocol.value}")
    read_rule(rule, field)


def read_rule(rule: Rule, field: str = "rule") -> RuleSpec:
    """Say a rule to the fabric."""
    return RuleSpec(
        id=rule.id,
        inbound=rule.rule_type is RuleType.INBOUND,
        protocol=SPOKEN[rule.protocol],
        ports=read_ports(rule.ports, f"{field}.ports"),
        peer=read_peer(rule, f"{field}.ipRangeCidr"),
        icmp_type=read_icmp_type(rule.icmp_type, f"{field}.icmpType"),
    )


def read_ports(text: str, field: str) -> tuple[tuple[int, int], ...]:
    """Read `80,443` and `1024:2048` as the fewest ranges that say so; () for all ports."""
    parts = [PORTS.fullmatch(part) for part in text.split(",")] if text else []
    pairs = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
    fit = all(0 < first <= last < 1 << 16 for first, last in pairs)
    if len(pairs) < len(parts) or len(pairs) > MOST_PORTS or not fit:
        raise Invalid.field(field, text, PORTS_RULE)
    return merged(pairs)


def read_peer(rule: Rule, field: str) -> IPv4Network | IPv6Network | None:
    """Read an address or range of the kind that the protocol has."""
    if not rule.ip_range_cidr:
        return None
    peer = read_range(rule.ip_range_cidr, field)
    needed = {Protocol.ICMP: 4, Protocol.ICMPV6: 6}.get(rule.protocol, peer.version)
    if peer.version != needed:
        raise Invalid.field(field, rule.ip_range_cidr, f"a range of IPv{needed} with {rule.protocol.value}")
    return peer


def read_range(text: str, field: str) -> IPv4Network | IPv6Network:
    """Read an address or a range that begins at its first address, one of IPv4 as such; an address of one link alone is none."""
    try:
        range_ = ip_network(text, strict=False)
    except ValueError:
        raise Invalid.field(field, text, RANGE_RULE) from None
    address, slash, _ = text.partition("/")
    if "%" in text:
        raise Invalid.field(field, text, RANGE_RULE)
    if slash and ip_address(address) != range_.network_address:
        raise Invalid.field(field, text, f"{range_}, which begins at its first address")
    if isinstance(range_, IPv6Network) and range_.subnet_of(MAPPED):
        return IPv4Network((int(range_.network_address) & 0xFFFFFFFF, range_.prefixlen - MAPPED.prefixlen))
    return range_


def plain_range(text: str, field: str) -> str:
    """Spell an address or a range in the one way that all who compare texts expect."""
    if not text:
        return ""
    range_ = read_range(text, field)
    return str(range_ if "/" in text else range_.network_address)


def read_icmp_type(text: str, field: str) -> int | None:
    """Read a type of ICMP; None for all."""
    if not text:
        return None
    if not ICMP_TYPE.fullmatch(text) or int(text) not in ICMP_TYPES:
        raise Invalid.field(
            field, text, f"a number from 0 to {ICMP_TYPES[-1]}, such as 8 for an echo request"
        )
    return int(text)


def free_id(rule: Rule, taken: Mapping[str, Rule]) -> str:
    """Make an id of what a rule says: who sends the same rules again changes nothing."""
    said = repr((rule.protocol.value, rule.ports, rule.rule_type.value, rule.ip_range_cidr, rule.icmp_type))
    digest = hashlib.sha256(said.encode()).hexdigest()
    return next(digest[:length] for length in range(8, 64) if digest[:length] not in taken)
