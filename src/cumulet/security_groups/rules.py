"""What a rule may say, and what it says to the fabric: pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final

import msgspec

from cumulet.errors import Invalid
from cumulet.fabric import IpProtocol, RuleSpec
from cumulet.security_groups.wire import Protocol, Rule, RuleType

MOST_RULES: Final = 1000
MOST_PORTS: Final = 100
"""Ports and ranges of one rule."""
RULE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,62}")
PORTS_RULE: Final = f"ports from 1 to 65535 and ranges, such as 80,443 or 1024:2048, at most {MOST_PORTS}"
ICMP_TYPES: Final = range(256)
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
    """Check rules and give each without an id one made of what it says; Invalid names the field."""
    if len(rules) > MOST_RULES:
        raise Invalid.field("rules", f"{len(rules)} rules", f"at most {MOST_RULES}")
    planned: dict[str, Rule] = {}
    for index, rule in enumerate(rules):
        field = f"rules[{index}]"
        check_rule(rule, field)
        id = rule.id or free_id(rule, planned)
        if id in planned:
            raise Invalid.field(f"{field}.id", rule.id, "an id that no other rule of the group has")
        planned[id] = msgspec.structs.replace(rule, id=id)
    return list(planned.values())


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
    """Read `80,443` and `1024:2048`; () for all ports."""
    parts = (
        [re.fullmatch(r"\s*(\d{1,5})\s*(?:[:-]\s*(\d{1,5})\s*)?", part) for part in text.split(",")]
        if text
        else []
    )
    pairs = [(int(part[1]), int(part[2] or part[1])) for part in parts if part]
    fit = all(0 < first <= last < 1 << 16 for first, last in pairs)
    if len(pairs) < len(parts) or len(pairs) > MOST_PORTS or not fit:
        raise Invalid.field(field, text, PORTS_RULE)
    return tuple(pairs)


def read_peer(rule: Rule, field: str) -> IPv4Network | IPv6Network | None:
    """Read an address or range of the kind that the protocol has."""
    if not rule.ip_range_cidr:
        return None
    try:
        peer = ip_network(rule.ip_range_cidr, strict=False)
    except ValueError:
        accepted = "an address or a range, such as 192.0.2.7 or 10.0.0.0/8"
        raise Invalid.field(field, rule.ip_range_cidr, accepted) from None
    needed = {Protocol.ICMP: 4, Protocol.ICMPV6: 6}.get(rule.protocol, peer.version)
    if peer.version != needed:
        raise Invalid.field(field, rule.ip_range_cidr, f"a range of IPv{needed} with {rule.protocol.value}")
    return peer


def read_icmp_type(text: str, field: str) -> int | None:
    """Read a type of ICMP; None for all."""
    if not text:
        return None
    if not re.fullmatch(r"\d{1,3}", text) or int(text) not in ICMP_TYPES:
        raise Invalid.field(
            field, text, f"a number from 0 to {ICMP_TYPES[-1]}, such as 8 for an echo request"
        )
    return int(text)


def free_id(rule: Rule, taken: Mapping[str, Rule]) -> str:
    """Make an id of what a rule says: who sends the same rules again changes nothing."""
    said = repr((rule.protocol.value, rule.ports, rule.rule_type.value, rule.ip_range_cidr, rule.icmp_type))
    digest = hashlib.sha256(said.encode()).hexdigest()
    return next(digest[:length] for length in range(8, 64) if digest[:length] not in taken)
