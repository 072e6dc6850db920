"""What decides about a probe, in words: the same whether rules are evaluated here or OVN was asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address, IPv4Network
from typing import Final
from uuid import UUID

from cumulet.fabric import GroupSpec, IpProtocol, NetworkSpec, PortSpec, Probe, RuleSpec, Verdict

ECHO_REQUEST: Final = 8
KEY_EXCHANGE_PORTS: Final = (500, 4500)


def open_to_all() -> Verdict:
    """Nothing stands in the way."""
    return Verdict(
        passes=True, group_id=None, rule_id="", why="no rule is needed: the port has no security group"
    )


def let_in(group_id: UUID, rule_id: str) -> Verdict:
    """A rule about inbound traffic decides."""
    return Verdict(passes=True, group_id=group_id, rule_id=rule_id, why="a rule allows it")


def let_out(group_id: UUID, rule_id: str) -> Verdict:
    """A rule of the sender's decides, for the port has none."""
    why = "a rule of the sender allows it, and the port has no security group"
    return Verdict(passes=True, group_id=group_id, rule_id=rule_id, why=why)


def not_let_in(group_id: UUID, target: PortSpec) -> Verdict:
    """The lack of a rule decides."""
    count = len(target.groups)
    why = f"no rule of {'its group' if count == 1 else f'its {count} groups, this one among them,'} allows it"
    return Verdict(passes=False, group_id=group_id, rule_id="", why=why)


def not_let_out(group_id: UUID) -> Verdict:
    """The lack of a rule at the sender's decides."""
    why = "no rule of the sender's groups allows it, and this one restricts outbound traffic"
    return Verdict(passes=False, group_id=group_id, rule_id="", why=why)


def dropped(why: str) -> Verdict:
    """Something else than a rule decides."""
    return Verdict(passes=False, group_id=None, rule_id="", why=why)


def decide_before_rules(
    target: PortSpec, sender: PortSpec | None, networks: Mapping[UUID, NetworkSpec]
) -> Verdict | None:
    """What decides where no rule is asked; None if rules are. `networks` has those of both ports."""
    if sender and sender.id == target.id:
        return Verdict(
            passes=True, group_id=None, rule_id="", why="traffic of a guest to itself does not leave it"
        )
    if sender and sender.network_id == target.network_id:
        return None
    if not networks[target.network_id].joined:
        return dropped("its network is stopped: only VMs in it reach it")
    if sender and not networks[sender.network_id].joined:
        return dropped("the sender's network is stopped: nothing leaves it")
    if sender is None and target.external_address is None:
        return dropped("it has no external address to be reached by from outside")
    return None


def decide_by_rules(
    probe: Probe, target: PortSpec, sender: PortSpec | None, groups: Mapping[UUID, GroupSpec]
) -> Verdict:
    """What the rules of both ports decide."""
    passes = open_to_all()
    restricting = (
        [group for group in _groups_of(sender, groups) if restricts_outbound(group)] if sender else []
    )
    if restricting:
        found = _find_rule(restricting, probe, target.address, inbound=False)
        if found is None:
            return not_let_out(restricting[0].id)
        passes = let_out(*found)
    if target.groups:
        found = _find_rule(_groups_of(target, groups), probe, probe.source, inbound=True)
        return let_in(*found) if found else not_let_in(min(target.groups), target)
    return passes


def restricts_outbound(group: GroupSpec) -> bool:
    """Whether what its ports send needs a rule."""
    return any(not rule.inbound for rule in group.rules)


def _groups_of(port: PortSpec, groups: Mapping[UUID, GroupSpec]) -> Iterator[GroupSpec]:
    """The groups of a port."""
    return (groups[group_id] for group_id in sorted(port.groups))


def _find_rule(
    groups: Iterator[GroupSpec] | list[GroupSpec], probe: Probe, peer: IPv4Address, *, inbound: bool
) -> tuple[UUID, str] | None:
    """The first rule that lets a probe pass, with its group."""
    for group in groups:
        for rule in group.rules:
            if rule.inbound is inbound and _speaks_of(rule, probe, peer):
                return group.id, rule.id
    return None


def _speaks_of(rule: RuleSpec, probe: Probe, peer: IPv4Address) -> bool:
    """Whether a rule is about a probe that comes from, or goes to, `peer`."""
    if rule.peer is not None and not (isinstance(rule.peer, IPv4Network) and peer in rule.peer):
        return False
    match rule.protocol:
        case IpProtocol.ALL:
            return True
        case IpProtocol.IPSEC:
            return probe.protocol is IpProtocol.UDP and probe.port in KEY_EXCHANGE_PORTS
        case IpProtocol.ICMP:
            return probe.protocol is IpProtocol.ICMP and rule.icmp_type in (None, ECHO_REQUEST)
        case IpProtocol.TCP | IpProtocol.UDP:
            in_ports = not rule.ports or any(first <= probe.port <= last for first, last in rule.ports)
            return probe.protocol is rule.protocol and in_ports
        case IpProtocol.ICMPV6:
            return False
