"""Asking OVN about a packet: `ovn-trace` follows it through what northd made of our rows for the hosts.

Of the flows that it tells about, those that an ACL was made into carry the first digits of that ACL's row ("stage-hint"),
which leads back to the group and its rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final
from uuid import UUID

from cumulet.fabric import (
    FabricError,
    IpProtocol,
    NetworkSpec,
    PortSpec,
    Probe,
    Verdict,
)
from cumulet.fabric.ovn import groups, names
from cumulet.fabric.ovn.addresses import external_mac
from cumulet.fabric.ovn.lookup import (
    find_network,
    find_port,
    find_router,
    network_spec,
    ports_in,
    router_spec,
)
from cumulet.fabric.ovn.replica import PART, SPEC, mark
from cumulet.fabric.ovn.rows import View
from cumulet.fabric.ovn.southbound import Way, ask
from cumulet.fabric.ovn.specs import decode_spec
from cumulet.fabric.verdict import (
    ECHO_REQUEST,
    decide_before_rules,
    dropped,
    let_in,
    let_out,
    not_let_in,
    not_let_out,
    open_to_all,
)

HINT_DIGITS: Final = 8
EPHEMERAL_PORT: Final = 40000
CONNECTION_LOOKUPS: Final = 8
"""As many as a packet may meet on its way, each of which is to know nothing of a connection."""
ACL_STAGES: Final = ("ls_in_acl", "ls_out_acl")
SOMEBODY_OUTSIDE: Final = external_mac(IPv4Address("255.255.255.255"))
"""Stands for the MAC of whoever sends from the world."""
FLOW: Final = re.compile(r"^ *\d+\. (?P<stage>\w+) .*, uuid (?P<uuid>[0-9a-f]+)$")
OUTPUT: Final = re.compile(r'/\* output to "(?P<port>[^"]+)"')


@dataclass(frozen=True, slots=True)
class Acl:
    """What an ACL of a group stands for."""

    group_id: UUID
    rule_id: str
    """`""` for what no rule speaks about."""
    inbound: bool


@dataclass(frozen=True, slots=True)
class Question:
    """A packet for ovn-trace to follow."""

    switch: str
    """Where it begins."""
    packet: str
    """In the language of OVN's matches."""
    target: PortSpec
    acls: Mapping[str, Acl]
    """Those of both ends, by the first digits of their rows."""


@dataclass(frozen=True, slots=True)
class Course:
    """What ovn-trace tells."""

    arrived_at: tuple[str, ...]
    """The beginnings of the names of ports where it comes out."""
    flows: tuple[tuple[str, str], ...]
    """The stages that it passes, each with the first digits of the flow that applied; where it is dropped is the last."""


def plan_question(view: View, port_id: UUID, probe: Probe) -> Question | Verdict:
    """What to ask OVN about a probe; the answer, if it is known without. FabricError when the port is not there."""
    target, network = _place(view, port_id)
    behind = {port.address: (port, within) for port, within in _behind(view, network.router_id)}
    sender, sender_network = behind.get(probe.source, (None, network))
    verdict = decide_before_rules(target, sender, {each.id: each for each in (network, sender_network)})
    if verdict:
        return verdict
    if sender:
        switch, packet = _from_port(probe, target, sender, sender_network)
    else:
        switch, packet = _from_outside(view, probe, target, network)
    return Question(switch, packet, target, _acls_of(view, target, sender))


def _place(view: View, port_id: UUID) -> tuple[PortSpec, NetworkSpec]:
    """A port and its network."""
    row = find_port(view, port_id)
    port = decode_spec(mark(row, SPEC), PortSpec) if row else None
    switch = port and find_network(view, port.network_id)
    network = network_spec(switch) if switch else None
    if port is None or network is None:
        raise FabricError(f"port {port_id}, or its network, is not there")
    return port, network


def _behind(view: View, router_id: UUID) -> Iterator[tuple[PortSpec, NetworkSpec]]:
    """The ports in all networks of a router, joined or not, with their networks."""
    for switch in view.all("Logical_Switch", "network"):
        network = network_spec(switch)
        if network and network.router_id == router_id:
            for port in ports_in(view, switch):
                yield port, network


def _from_port(probe: Probe, target: PortSpec, sender: PortSpec, network: NetworkSpec) -> tuple[str, str]:
    """Where a guest's packet begins, and what it looks like there."""
    on_the_way = target.mac if sender.network_id == target.network_id else network.gateway_mac
    return names.network(sender.network_id), _packet(
        probe, inport=str(sender.id), macs=(sender.mac, on_the_way), destination=target.address
    )


def _from_outside(view: View, probe: Probe, target: PortSpec, network: NetworkSpec) -> tuple[str, str]:
    """Where the world's packet to an external address begins, and what it looks like there."""
    row = find_router(view, network.router_id)
    router = router_spec(row) if row else None
    address = target.external_address
    if router is None or address is None:
        raise FabricError(f"port {target.id} has no external address, or its network no router")
    bridge = router.external.bridge
    return names.external_switch(view.installation, bridge), _packet(
        probe,
        inport=names.bridge_port(view.installation, bridge),
        macs=(SOMEBODY_OUTSIDE, external_mac(address) if router.external.everywhere else router.mac),
        destination=address,
    )


def _packet(probe: Probe, *, inport: str, macs: tuple[str, str], destination: IPv4Address) -> str:
    """A packet from and to these MACs, in the language of OVN's matches."""
    header = f'inport == "{inport}" && eth.src == {macs[0]} && eth.dst == {macs[1]} && ip.ttl == 64'
    addresses = f"ip4.src == {probe.source} && ip4.dst == {destination}"
    if probe.protocol is IpProtocol.ICMP:
        return f"{header} && {addresses} && icmp4.type == {ECHO_REQUEST} && icmp4.code == 0"
    protocol = probe.protocol.value
    return f"{header} && {addresses} && {protocol}.src == {EPHEMERAL_PORT} && {protocol}.dst == {probe.port}"


def _acls_of(view: View, *ports: PortSpec | None) -> dict[str, Acl]:
    """The ACLs of the groups of some ports, by the first digits of their rows."""
    group_ids = {group_id for port in ports if port for group_id in port.groups}
    return {
        row.uuid.hex[:HINT_DIGITS]: Acl(
            group_id, groups.rule_of(mark(row, PART)), inbound=row.direction == "to-lport"
        )
        for group_id in group_ids
        for row in view.owned("ACL", group_id)
    }


def answer(way: Way, question: Question) -> Verdict:
    """Let ovn-trace follow a packet, and say what it means."""
    new_connections = ["--ct=new"] * CONNECTION_LOOKUPS
    course = read_course(ask(way, "ovn-trace", *new_connections, question.switch, question.packet))
    decided = [(stage, flow) for stage, flow in course.flows if stage in ACL_STAGES]
    hints = _hints(way, [flow for _, flow in decided])
    deciding = [question.acls[hint] for hint in hints if hint in question.acls]
    if any(str(question.target.id).startswith(port) for port in course.arrived_at):
        return _passes([acl for acl in deciding if acl.rule_id])
    if deciding and course.flows[-1][0] in ACL_STAGES:
        last = deciding[-1]
        return not_let_in(last.group_id, question.target) if last.inbound else not_let_out(last.group_id)
    return dropped(f"it is dropped on the way, at OVN's stage {course.flows[-1][0]}")


def _passes(rules: Sequence[Acl]) -> Verdict:
    """What let it pass: the last of the rules on its way."""
    if not rules:
        return open_to_all()
    last = rules[-1]
    return (let_in if last.inbound else let_out)(last.group_id, last.rule_id)


def read_course(output: str) -> Course:
    """Read what ovn-trace tells."""
    flows = tuple((each["stage"], each["uuid"]) for each in map(FLOW.match, output.splitlines()) if each)
    if not flows:
        raise FabricError(f"ovn-trace follows no packet: {output.strip()}")
    return Course(tuple(each["port"] for each in OUTPUT.finditer(output)), flows)


def _hints(way: Way, flows: Sequence[str]) -> list[str]:
    """The first digits of the rows that flows were made from, in the same order."""
    if not flows:
        return []
    output = ask(
        way,
        "ovn-sbctl",
        "--format=json",
        "--columns=_uuid,external_ids",
        "list",
        "Logical_Flow",
        *flows,
    )
    found = {
        row[0][1][:HINT_DIGITS]: dict(row[1][1]).get("stage-hint", "") for row in json.loads(output)["data"]
    }
    return [found.get(flow, "") for flow in flows]
