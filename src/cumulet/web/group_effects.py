"""What a change of security groups cuts and opens on the NICs that have them: pure.

A NIC without a group takes in everything, and without a rule about what goes out it sends everything. So the first group
that a NIC gets, and the first rule of the kind, cut whatever they do not name; the last ones that go open all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network
from typing import Final

import msgspec

from cumulet.fabric import IpProtocol, RuleSpec
from cumulet.security_groups.rules import read_rule
from cumulet.security_groups.wire import Protocol, Rule, RuleType, SecurityGroupAnswer
from cumulet.web.lets_pass import in_words, rules_of

Ports = tuple[tuple[int, int], ...]
ALL_PORTS: Final[Ports] = ((1, 65535),)
WITH_PORTS: Final = (IpProtocol.TCP, IpProtocol.UDP)


@dataclass(frozen=True, slots=True)
class NicChange:
    """The groups of a NIC of a VM, as they are and as they would be."""

    vm: str
    before: Sequence[SecurityGroupAnswer]
    after: Sequence[SecurityGroupAnswer]


@dataclass(frozen=True, slots=True)
class Effect:
    """What a change does to a VM, in words such as `in: tcp 22 from anywhere`."""

    vm: str
    cut: Sequence[str]
    opened: Sequence[str]


def effects_of(changes: Sequence[NicChange]) -> list[Effect]:
    """Say what changes for each VM for which something does."""
    cut: dict[str, list[str]] = {}
    opened: dict[str, list[str]] = {}
    for one in changes:
        cut.setdefault(one.vm, []).extend(lost(one.before, one.after))
        opened.setdefault(one.vm, []).extend(lost(one.after, one.before))
    effects = [Effect(vm, list(dict.fromkeys(cut[vm])), list(dict.fromkeys(opened[vm]))) for vm in cut]
    return [one for one in effects if one.cut or one.opened]


def alike(effects: Sequence[Effect]) -> list[tuple[list[str], Effect]]:
    """Put together the VMs to which the same happens, for people to read; each with one of their effects."""
    found: dict[tuple[tuple[str, ...], tuple[str, ...]], tuple[list[str], Effect]] = {}
    for one in effects:
        found.setdefault((tuple(one.cut), tuple(one.opened)), ([], one))[0].append(one.vm)
    return list(found.values())


def digest_of(effects: Sequence[Effect]) -> str:
    """Name what was shown, so that nothing else is done than somebody agreed to."""
    return hashlib.sha256(msgspec.json.encode(effects)).hexdigest()[:16]


def lost(before: Sequence[SecurityGroupAnswer], after: Sequence[SecurityGroupAnswer]) -> list[str]:
    """Name what passes a NIC with some groups and not with others."""
    words = []
    for direction, way in ((RuleType.INBOUND, "in"), (RuleType.OUTBOUND, "out")):
        still = passing(after, direction)
        rests = [rest_of(rule, still) for rule in passing(before, direction)]
        words += [f"{way}: {rest}" for rest in rests if rest]
    return words


def passing(groups: Sequence[SecurityGroupAnswer], direction: RuleType) -> list[Rule]:
    """Give what passes in a direction, as rules."""
    rules = rules_of(groups, direction)
    is_open = not groups if direction is RuleType.INBOUND else not rules
    return [Rule(protocol=Protocol.ALL, rule_type=direction)] if is_open else rules


def rest_of(rule: Rule, others: Sequence[Rule]) -> str:
    """Name what a rule lets pass and none of the others does; empty for nothing."""
    spec = read_rule(rule)
    pairs = [(other, read_rule(other)) for other in others]
    whole = [other for _, other in pairs if is_within(spec, other)]
    ports = ports_without(spec, whole)
    if (spec.protocol in WITH_PORTS and not ports) or (spec.protocol not in WITH_PORTS and whole):
        return ""
    kept = [in_words(other) for other, said in pairs if said not in whole and overlap(spec, said, ports)]
    shown = msgspec.structs.replace(rule, ports="" if ports == ALL_PORTS else written(ports))
    return in_words(shown) + (f" (still open: {'; '.join(dict.fromkeys(kept))})" if kept else "")


def is_within(spec: RuleSpec, other: RuleSpec) -> bool:
    """Whether all that a rule is about is what another is about, but for its ports."""
    if other.protocol not in {IpProtocol.ALL, spec.protocol} or other.icmp_type not in {None, spec.icmp_type}:
        return False
    match spec.peer, other.peer:
        case _, None:
            return True
        case (IPv4Network() as mine, IPv4Network() as theirs):
            return mine.subnet_of(theirs)
        case (IPv6Network() as mine, IPv6Network() as theirs):
            return mine.subnet_of(theirs)
    return False


def overlap(spec: RuleSpec, other: RuleSpec, ports: Ports) -> bool:
    """Whether some traffic to those ports is what both rules are about."""
    has_kind = IpProtocol.ALL in {spec.protocol, other.protocol} or spec.protocol is other.protocol
    has_type = None in {spec.icmp_type, other.icmp_type} or spec.icmp_type == other.icmp_type
    has_peer = spec.peer is None or other.peer is None or spec.peer.overlaps(other.peer)
    has_ports = not ports or any(
        a <= last and first <= b for first, last in ports for a, b in other.ports or ALL_PORTS
    )
    return has_kind and has_type and has_peer and has_ports


def ports_without(spec: RuleSpec, others: Sequence[RuleSpec]) -> Ports:
    """Give a rule's ports that none of the others has; none for what has no ports."""
    if spec.protocol not in WITH_PORTS:
        return ()
    ports = spec.ports or ALL_PORTS
    for other in others:
        for a, b in other.ports or ALL_PORTS:
            parts = ((first, min(last, a - 1)) for first, last in ports)
            above = ((max(first, b + 1), last) for first, last in ports)
            ports = tuple(sorted((first, last) for first, last in (*parts, *above) if first <= last))
    return ports


def written(ports: Ports) -> str:
    """Write ports as rules have them."""
    return ",".join(str(first) if first == last else f"{first}:{last}" for first, last in ports)


def with_group(groups: Mapping[str, SecurityGroupAnswer], ids: Sequence[str]) -> list[SecurityGroupAnswer]:
    """Give groups by their ids; one that has gone meanwhile is none."""
    return [groups[id] for id in ids if id in groups]
