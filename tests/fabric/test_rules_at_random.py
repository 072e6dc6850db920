"""Made-up groups and packets by the hundred: OVN, the words of `trace` and a few lines of judgement here must agree."""

import random
from contextlib import ExitStack
from dataclasses import dataclass, replace
from ipaddress import ip_address

import pytest
from tests.fabric.guests import frames_until, wait_until_in_force
from tests.fabric.packets import Packet, frame_of, marker_frame, neighbours
from tests.fabric.specs import a_rule

from cumulet.fabric import IpProtocol, Probe

pytestmark = pytest.mark.lab

GUESTS, ROUNDS, PACKETS_EACH, TRACED = 20, 10, 12, 15
PORTS = (22, 53, 80, 443, 500, 4500, 8080)
PEERS = ("", "10.0.0.0/24", "10.0.0.16/28", "10.0.0.12/31", "0.0.0.0/0", "192.0.2.0/24", "fd00::/8")
TYPES = {IpProtocol.ICMP: (None, 8, 13, 0), IpProtocol.ICMPV6: (None, 128)}


@dataclass(frozen=True)
class Sent:
    packet: Packet
    sender: int
    receiver: int


def made_up_rule(dice, id_):
    protocol = dice.choice(list(IpProtocol))
    count = dice.randint(0, 3) if protocol in (IpProtocol.TCP, IpProtocol.UDP) else 0
    ports = [(first, first + dice.choice((0, 0, 100, 4000))) for first in dice.sample(PORTS, count)]
    return a_rule(
        protocol,
        *ports,
        id=id_,
        inbound=dice.random() < 0.75,
        peer=dice.choice(PEERS),
        icmp_type=dice.choice(TYPES.get(protocol, (None,))),
    )


def made_up_packet(dice, sender, receiver):
    kinds = ["tcp", "udp", "icmp"] + (
        ["esp", "ah"] if sender < receiver else []
    )  # the other way they are answers
    protocol = dice.choice(kinds)
    if protocol == "icmp":
        return Packet("icmp", dice.choice((8, 13)))
    return Packet(protocol, dice.choice(PORTS)) if protocol in ("tcp", "udp") else Packet(protocol)


def speaks_of(rule, packet, peer):
    """Judged without a look at how the product does it."""
    if rule.peer and (rule.peer.version != 4 or ip_address(peer) not in rule.peer):
        return False
    named = {
        IpProtocol.ALL: True,
        IpProtocol.ICMPV6: False,
        IpProtocol.IPSEC: packet.protocol in ("esp", "ah")
        or (packet.protocol == "udp" and packet.port in (500, 4500)),
    }
    if rule.protocol in named:
        return named[rule.protocol]
    if rule.protocol.value != packet.protocol:
        return False
    if packet.protocol == "icmp":
        return rule.icmp_type in (None, packet.port)
    return not rule.ports or any(packet.port in range(first, last + 1) for first, last in rule.ports)


def must_pass(sent, ports, groups):
    sender, receiver = ports[sent.sender], ports[sent.receiver]
    out = [rule for each in sender.groups for rule in groups[each].rules if not rule.inbound]
    into = [rule for each in receiver.groups for rule in groups[each].rules if rule.inbound]
    let_out = not out or any(speaks_of(rule, sent.packet, receiver.address) for rule in out)
    let_in = not receiver.groups or any(speaks_of(rule, sent.packet, sender.address) for rule in into)
    return let_out and let_in


def test_what_passes_is_what_the_rules_say(fabric, project, plug):
    dice = random.Random(20_261_126)  # noqa: S311 - the same every time
    groups = [project.group() for _ in range(GUESTS)]
    plugged = plug(*(project.port(10 + number) for number in range(GUESTS)))
    passed = 0
    for _ in range(ROUNDS):
        by_id = {}
        for group in groups:
            rules = tuple(made_up_rule(dice, f"r{number}") for number in range(dice.randint(0, 4)))
            by_id[group.id] = replace(group, rules=rules)
            fabric.put_group(by_id[group.id])
        ports = []
        for guest in plugged:
            members = frozenset(group.id for group in dice.sample(groups, dice.choice((0, 1, 1, 2, 3))))
            ports.append(replace(guest.port, groups=members))
            fabric.put_port(ports[-1])
        wait_until_in_force(fabric)
        sent = [made_up_sent(dice) for _ in range(GUESTS * PACKETS_EACH)]
        came = arrivals(sent, plugged)
        assert [(each in came) for each in sent] == [must_pass(each, ports, by_id) for each in sent]
        passed += len(came)
    assert 0.2 < passed / (ROUNDS * GUESTS * PACKETS_EACH) < 0.8
    for each in [each for each in sent if each.packet.protocol in ("tcp", "udp")][:TRACED]:
        probe = Probe(ports[each.sender].address, IpProtocol(each.packet.protocol), each.packet.port)
        assert fabric.trace(ports[each.receiver].id, probe).passes == must_pass(each, ports, by_id)


def made_up_sent(dice):
    sender, receiver = dice.sample(range(GUESTS), 2)
    return Sent(made_up_packet(dice, sender, receiver), sender, receiver)


def arrivals(sent, plugged):
    """Which of the packets, all sent at once, come where they are for."""
    texts = {number: b"<packet %d>" % number for number in range(len(sent))}
    with ExitStack() as stack:
        raw = [stack.enter_context(guest.frames()) for guest in plugged]
        for number, each in enumerate(sent):
            source, target = neighbours(plugged[each.sender], plugged[each.receiver])
            raw[each.sender].send(frame_of(each.packet, texts[number], source=source, target=target))
        came = [b""] * len(plugged)
        for end in (b"<nearly the end>", b"<end>"):
            for receiver, guest in enumerate(plugged):
                for sender, other in enumerate(plugged):
                    if sender != receiver:
                        raw[sender].send(marker_frame(end + b"%d." % sender, sender=other, receiver=guest))
                        came[receiver] += b"".join(frames_until(raw[receiver], end + b"%d." % sender))
    return [each for number, each in enumerate(sent) if texts[number] in came[each.receiver]]
