import socket
from contextlib import suppress
from dataclasses import replace

import pytest
from tests.fabric import guests
from tests.fabric.guests import ask_tcp, dhcp, renew, texts_until
from tests.fabric.packets import Packet, arriving, end, send_from_host
from tests.fabric.specs import SSH, Project, a_network, a_port, a_rule

from cumulet.fabric import IpProtocol

pytestmark = pytest.mark.lab

ALL, TCP, UDP = IpProtocol.ALL, IpProtocol.TCP, IpProtocol.UDP
ICMP, ICMPV6, IPSEC = IpProtocol.ICMP, IpProtocol.ICMPV6, IpProtocol.IPSEC
UNRELATED = a_rule(TCP, (1, 1), id="unrelated", inbound=False, peer="203.0.113.1/32")

PACKETS = (
    Packet("tcp", 22), Packet("tcp", 80), Packet("tcp", 443), Packet("tcp", 2000), Packet("tcp", 65535),
    Packet("udp", 22), Packet("udp", 53), Packet("udp", 500), Packet("udp", 4500), Packet("udp", 2000),
    Packet("udp", 2000, source_port=53), Packet("udp", 2000, source_port=67),
    Packet("icmp", 8), Packet("icmp", 13), Packet("esp"), Packet("ah"),
)  # fmt: skip


def of(*protocols: str, ports: tuple[int, ...] = ()) -> list[Packet]:
    return [
        packet for packet in PACKETS if packet.protocol in protocols and (not ports or packet.port in ports)
    ]


CASES = {
    "all": ({"protocol": ALL}, list(PACKETS)),
    "all of the neighbours": ({"protocol": ALL, "peer": "10.0.0.0/24"}, list(PACKETS)),
    "all of everybody": ({"protocol": ALL, "peer": "0.0.0.0/0"}, list(PACKETS)),
    "all of somebody else": ({"protocol": ALL, "peer": "10.0.0.64/26"}, []),
    "all of IPv6": ({"protocol": ALL, "peer": "::/0"}, []),
    "TCP": ({"protocol": TCP}, of("tcp")),
    "a port of TCP": ({"protocol": TCP, "ports": [(22, 22)]}, of("tcp", ports=(22,))),
    "ports of TCP": (
        {"protocol": TCP, "ports": [(80, 80), (443, 443), (1024, 2048)]},
        of("tcp", ports=(80, 443, 2000)),
    ),
    "every port of TCP by number": ({"protocol": TCP, "ports": [(0, 65535)]}, of("tcp")),
    "the last port of TCP": ({"protocol": TCP, "ports": [(65535, 65535)]}, of("tcp", ports=(65535,))),
    "TCP of one guest": ({"protocol": TCP, "peer": "10.0.0.10/31"}, of("tcp")),
    "UDP": ({"protocol": UDP}, of("udp")),
    "ports of UDP": ({"protocol": UDP, "ports": [(22, 60), (500, 500)]}, of("udp", ports=(22, 53, 500))),
    "ICMP": ({"protocol": ICMP}, of("icmp")),
    "a type of ICMP": ({"protocol": ICMP, "icmp_type": 8}, of("icmp", ports=(8,))),
    "ICMPv6": ({"protocol": ICMPV6}, []),
    "IPsec": ({"protocol": IPSEC}, [*of("udp", ports=(500, 4500)), *of("esp", "ah")]),
    "IPsec of somebody else": ({"protocol": IPSEC, "peer": "192.0.2.0/24"}, []),
}  # fmt: skip


def rule_of(case, *, inbound):
    rest = {name: value for name, value in case.items() if name not in ("protocol", "ports")}
    return a_rule(case["protocol"], *case.get("ports", ()), inbound=inbound, **rest)


@pytest.mark.parametrize("inbound", [True, False], ids=["in", "out"])
def test_just_what_rules_name_passes_as_soon_as_they_change(fabric, project, plug, inbound):
    group = project.group(UNRELATED)
    sender_groups, receiver_groups = ((), {group.id}) if inbound else ({group.id}, ())
    sender, receiver = plug(project.port(10, "", sender_groups), project.port(11, "", receiver_groups))
    assert arriving(PACKETS, sender, receiver) == []
    for name, (case, passing) in CASES.items():
        fabric.put_group(replace(group, rules=(UNRELATED, rule_of(case, inbound=inbound))))
        guests.wait_until_in_force(fabric)
        assert arriving(PACKETS, sender, receiver) == passing, name
        fabric.put_group(group)
        guests.wait_until_in_force(fabric)
        assert (
            arriving([packet for packet in PACKETS if packet not in of("esp", "ah")], sender, receiver) == []
        ), name


def test_a_port_in_no_group_is_open_and_one_in_an_empty_group_closed(fabric, project, plug):
    group = project.group()
    sender, receiver = plug(project.port(10), project.port(11))
    for groups, passing in ((frozenset(), PACKETS), (frozenset({group.id}), ()), (frozenset(), PACKETS)):
        fabric.put_port(replace(receiver.port, groups=groups))
        guests.wait_until_in_force(fabric)
        assert arriving(PACKETS, sender, receiver) == list(passing)


def test_answers_come_back_into_a_closed_group(fabric, project, plug):
    group = project.group()
    closed, open_ = plug(project.port(10, "192.0.2.10", {group.id}), project.port(11))
    open_.serve(b"open")
    closed.serve(b"closed")
    guests.serve_tcp(b"host", 8083)
    assert closed.connect("10.0.0.11", 80) == (b"open", "10.0.0.10")
    assert closed.connect("192.0.2.1", 8083) == (b"host", "192.0.2.10")
    closed.ip("neighbour", "flush", "dev", "eth0")
    with closed.udp(9) as asking, open_.udp(9) as answering:
        asking.sendto(b"question", ("10.0.0.11", 9))
        answering.sendto(b"answer", answering.recvfrom(99)[1])
        assert asking.recv(99) == b"answer"


def test_the_rules_of_several_groups_add_up(fabric, project, plug):
    web, ssh = project.group(a_rule(TCP, (80, 80))), project.group(SSH)
    sender, receiver = plug(project.port(10), project.port(11, "", {web.id, ssh.id}))
    assert arriving(PACKETS, sender, receiver) == of("tcp", ports=(22, 80))
    fabric.put_port(replace(receiver.port, groups=frozenset({ssh.id})))
    guests.wait_until_in_force(fabric)
    assert arriving(PACKETS, sender, receiver) == of("tcp", ports=(22,))


def test_one_group_that_speaks_of_what_goes_out_restricts_all_of_it(fabric, project, plug):
    out = project.group(a_rule(TCP, (443, 443), inbound=False))
    groups = {out.id, project.group(SSH).id}
    sender, receiver = plug(project.port(10, "", groups), project.port(11))
    assert arriving(PACKETS, sender, receiver) == of("tcp", ports=(443,))
    fabric.put_port(replace(sender.port, groups=frozenset(groups - {out.id})))
    guests.wait_until_in_force(fabric)
    assert arriving(PACKETS, sender, receiver) == list(PACKETS)


def test_a_connection_that_stands_is_cut_when_its_rule_goes(fabric, project, plug):
    group = project.group(a_rule(TCP, (80, 80)))
    client, server = plug(project.port(10), project.port(11, "", {group.id}))
    with server.entered():
        listener = guests.bound(socket.SOCK_STREAM, 80)
        listener.listen()
    with client.entered():
        calling = socket.create_connection(("10.0.0.11", 80), timeout=guests.SECONDS)
    called, _ = listener.accept()
    with listener, calling, called:
        called.settimeout(0.7)
        calling.send(b"before")
        assert called.recv(99) == b"before"
        fabric.put_group(replace(group, rules=(SSH,)))
        guests.wait_until_in_force(fabric)
        calling.send(b"after")
        with pytest.raises(TimeoutError):
            called.recv(99)
        fabric.put_group(group)
        called.settimeout(guests.SECONDS)
        assert called.recv(99) == b"after"


def test_others_do_not_notice_who_joins_or_leaves(fabric, project, plug):
    group = project.group(a_rule(TCP, (80, 80)))
    client, server, third = plug(project.port(10), project.port(11), project.port(12))
    with server.entered():
        listener = guests.bound(socket.SOCK_STREAM, 80)
        listener.listen()
    with client.entered():
        calling = socket.create_connection(("10.0.0.11", 80), timeout=guests.SECONDS)
    called, _ = listener.accept()
    member = frozenset({group.id})
    with listener, calling, called:
        for port, groups in (
            (third.port, member), (server.port, member), (third.port, frozenset()), (third.port, member)
        ):  # fmt: skip
            fabric.put_port(replace(port, groups=groups))
            guests.wait_until_in_force(fabric)
            for _ in range(3):
                calling.send(b"hello")
                assert called.recv(99) == b"hello"
                called.send(b"hello back")
                assert calling.recv(99) == b"hello back"


def test_a_guest_gets_its_address_whatever_its_groups_keep_out_and_in(project, plug):
    group = project.group(UNRELATED)
    guest, other = plug(project.port(10, "", {group.id}), project.port(11))
    assert dhcp(guest)[0] == "10.0.0.10"
    guest.give("10.0.0.10/24", "10.0.0.1")
    guest.ip("neighbour", "flush", "dev", "eth0")
    with guest.udp(68) as sender, other.udp(67) as receiver:
        sender.sendto(b"not for a DHCP server", ("10.0.0.11", 67))
        receiver.settimeout(0.3)
        with pytest.raises(TimeoutError):
            receiver.recv(99)


@pytest.mark.parametrize("joined", [True, False], ids=["in a network", "in a stopped network"])
def test_a_lease_is_prolonged_whatever_the_groups_keep_out_and_in(fabric, project, plug, joined):
    groups = {project.group().id, project.group(UNRELATED).id}
    guest = plug(project.port(10, "", groups))
    fabric.put_network(replace(project.network, joined=joined))
    guests.wait_until_in_force(fabric)
    guest.ip("neighbour", "flush", "dev", "eth0")
    address, options = renew(guest, "10.0.0.1")
    assert (address, options[guests.DHCP_KIND]) == ("10.0.0.10", guests.DHCP_ACKNOWLEDGED)


def test_the_world_is_let_in_by_rules_too(project, plug):
    group = project.group(
        a_rule(TCP, (80, 80), peer="192.0.2.1/32"), a_rule(UDP, (9, 9), id="b", peer="10.0.0.0/8")
    )
    grouped, open_ = plug(project.port(10, "192.0.2.10", {group.id}), project.port(11, "192.0.2.11"))
    for port in (80, 81):
        grouped.serve(b"grouped", port)
    assert ask_tcp("192.0.2.10", 80) == (b"grouped", "192.0.2.1")
    with pytest.raises(TimeoutError):
        socket.create_connection(("192.0.2.10", 81), timeout=0.7)
    with open_.udp(9) as marked, grouped.udp(9) as receiver:
        for source_port in (0, 53, 67, 500):
            send_from_host(Packet("udp", 9, source_port=source_port), b"intruder", "192.0.2.10")
        send_from_host(Packet("udp", 9), b"marker", "192.0.2.11")
        assert texts_until(marked, b"marker") == []
        receiver.settimeout(0.3)
        with suppress(TimeoutError):
            assert receiver.recv(99) == b"nothing"


def test_a_neighbouring_network_is_let_in_by_rules_too(fabric, project, plug):
    other = a_network(project.router, "10.0.1.0/24", "fd00:11::/64")
    fabric.put_network(other)
    away = a_port(other, 20)
    fabric.put_port(away)
    group = project.group(a_rule(UDP, (9, 9), peer="10.0.1.20/32"), a_rule(TCP, peer="10.0.0.0/24", id="b"))
    sender, receiver, open_ = plug(away, project.port(10, "", {group.id}), project.port(11))
    receiver.serve(b"receiver")
    with receiver.udp(9) as listening, sender.udp(53) as sending:
        sending.sendto(b"let in", ("10.0.0.10", 9))
        assert listening.recv(99) == b"let in"
    with receiver.udp(10) as listening, sender.udp(53) as sending, open_.udp(10) as marked:
        sending.sendto(b"intruder", ("10.0.0.10", 10))
        sending.sendto(b"marker", ("10.0.0.11", 10))
        assert marked.recv(99) == b"marker"
        listening.settimeout(0.3)
        with pytest.raises(TimeoutError):
            listening.recv(99)
    with sender.entered(), pytest.raises(TimeoutError):
        socket.create_connection(("10.0.0.10", 80), timeout=0.7)


def test_projects_with_the_same_range_have_each_their_rules(fabric, plug):
    one, two = Project(fabric, 2, "10.0.0.0/24"), Project(fabric, 3, "10.0.0.0/24")
    allowing, closing = one.group(a_rule(ALL, peer="10.0.0.0/24")), two.group()
    senders = [one.port(10), two.port(10)]
    sender, receiver, other_sender, other_receiver = plug(
        senders[0], one.port(11, "", {allowing.id}), senders[1], two.port(11, "", {closing.id})
    )
    assert arriving(PACKETS, sender, receiver) == list(PACKETS)
    assert arriving(PACKETS, other_sender, other_receiver) == []


V6_PACKETS = (Packet("tcp", 22), Packet("tcp", 80), Packet("udp", 53), Packet("udp", 9, source_port=53), Packet("icmpv6", 128), Packet("esp"), Packet("ah"), Packet("ah", 80))  # fmt: skip
V6_CASES = {
    "all": (a_rule(ALL), V6_PACKETS),
    "all of the neighbours": (a_rule(ALL, peer="fd00:10::/64"), V6_PACKETS),
    "all of IPv4": (a_rule(ALL, peer="0.0.0.0/0"), ()),
    "TCP": (a_rule(TCP, (80, 80)), V6_PACKETS[1:2] + V6_PACKETS[7:]),
    "UDP of somebody else": (a_rule(UDP, peer="fd00:99::/64"), ()),
    "ICMP": (a_rule(ICMP), ()),
    "ICMPv6": (a_rule(ICMPV6), V6_PACKETS[4:5]),
    "a type of ICMPv6": (a_rule(ICMPV6, icmp_type=128), V6_PACKETS[4:5]),
    "another type of ICMPv6": (a_rule(ICMPV6, icmp_type=1), ()),
    "IPsec": (a_rule(IPSEC), V6_PACKETS[5:6]),
}


def test_rules_hold_for_ipv6_likewise(fabric, project, plug):
    group = project.group()
    sender, receiver = plug(project.port(10), project.port(11, "", {group.id}))
    ends = (
        end(sender.port.mac, "fd00:10::800:ff:fe01:a"),
        end(receiver.port.mac, "fd00:10::800:ff:fe01:b"),
    )
    assert arriving(V6_PACKETS, sender, receiver, ends=ends) == []
    for name, (rule, passing) in V6_CASES.items():
        fabric.put_group(replace(group, rules=(rule,)))
        guests.wait_until_in_force(fabric)
        assert arriving(V6_PACKETS, sender, receiver, ends=ends) == list(passing), name
