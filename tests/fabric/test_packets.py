import os
import signal
import socket
from ipaddress import IPv4Address

import pytest
from tests.fabric import guests
from tests.fabric.guests import Namespace, arp, ask_tcp, frames_until, resolve, texts_until, udp_frame
from tests.fabric.specs import EXTERNAL, Project, a_network, a_port, a_rule

from cumulet.doctor.daemons import PATHS
from cumulet.doctor.prepare import prepare_host
from cumulet.doctor.supervisor import read_status
from cumulet.fabric import IpProtocol

pytestmark = pytest.mark.lab


def test_a_guest_gets_its_address_and_all_it_must_know_by_dhcp(project, plug):
    address, offer = guests.dhcp(plug(project.port()))
    assert address == "10.0.0.10"
    assert offer[1] == socket.inet_aton("255.255.255.0")
    assert offer[3] == socket.inet_aton("10.0.0.1")
    assert offer[6] == socket.inet_aton("192.0.2.1")
    assert offer[12] == b"vm-10"
    assert offer[15] == b"internal"
    assert offer[26] == (1442).to_bytes(2, "big")


def test_guests_of_a_project_reach_each_other(project, plug):
    one, two = plug(project.port(10), project.port(11))
    two.serve(b"two")
    assert one.connect("10.0.0.11", 80) == (b"two", "10.0.0.10")


def test_two_projects_with_the_same_range_are_kept_apart(fabric, plug):
    callers = {}
    for word, number in ((b"one", 2), (b"two", 3)):
        project = Project(fabric, number, "10.0.0.0/24")
        callers[word], server = plug(project.port(10), project.port(11))
        server.serve(word)
    for word, caller in callers.items():
        assert caller.connect("10.0.0.11", 80) == (word, "10.0.0.10")


def test_an_external_address_answers_from_the_host(project, plug):
    guest = plug(project.port(external_address="192.0.2.10"))
    guest.serve(b"hello")
    assert ask_tcp("192.0.2.10", 80) == (b"hello", "192.0.2.1")


@pytest.mark.parametrize(("external_address", "seen"), [("192.0.2.10", "192.0.2.10"), ("", "192.0.2.2")])
def test_the_host_sees_a_guest_by_its_external_address_or_its_routers(project, plug, external_address, seen):
    guest = plug(project.port(external_address=external_address))
    guests.serve_tcp(b"host", 8081 if external_address else 8082)
    assert guest.connect("192.0.2.1", 8081 if external_address else 8082) == (b"host", seen)


def test_a_guest_reaches_the_world_through_the_host(project, plug):
    world = Namespace()
    guests.run("ip", "address", "replace", "198.51.100.1/24", "dev", world.outer)
    world.give("198.51.100.2/24")
    world.serve(b"world")
    guest = plug(project.port())
    assert guest.connect("198.51.100.2", 80) == (b"world", "198.51.100.1")
    world.remove()


def test_projects_see_each_others_external_addresses_only(project, stranger, plug):
    guest, known, server = plug(
        project.port(10), project.port(11, "192.0.2.11"), stranger.port(12, "192.0.2.12")
    )
    server.serve(b"server")
    assert guest.connect("192.0.2.12", 80) == (b"server", "192.0.2.2")
    assert known.connect("192.0.2.12", 80) == (b"server", "192.0.2.11")
    assert server.connect("192.0.2.12", 80) == (b"server", "192.0.2.12")


def test_a_project_cannot_send_to_the_private_addresses_of_another(project, stranger, plug):
    guest, server = plug(project.port(10), stranger.port(12, "192.0.2.12"))
    with server.udp(9) as receiver, guest.udp() as sender:
        sender.sendto(b"intruder", ("10.0.1.12", 9))
        sender.sendto(b"marker", ("192.0.2.12", 9))
        assert texts_until(receiver, b"marker") == []


def test_not_even_a_route_to_the_other_projects_router_leads_there(fabric, project, stranger, plug):
    guest, server = plug(project.port(10), stranger.port(12, "192.0.2.12"))
    way = ("lr-route-add", f"router-{project.router.id}", "10.0.1.0/24", str(stranger.router.address))
    guests.run("ovn-nbctl", *way)
    assert fabric.settled()
    with server.udp(9) as receiver, guest.udp() as sender:
        sender.sendto(b"let the routers know each other", (str(stranger.router.address), 9))
        guests.wait_for_neighbour(f"external-{project.router.id}", stranger.router.address)
        assert fabric.settled()
        sender.sendto(b"intruder", ("10.0.1.12", 9))
        sender.sendto(b"marker", ("192.0.2.12", 9))
        assert texts_until(receiver, b"marker") == []


def test_not_even_the_external_bridge_leads_to_a_private_address(project, plug):
    guest = plug(project.port(external_address="192.0.2.10"))
    guests.run("ip", "route", "replace", "10.0.0.0/24", "via", "192.0.2.2")
    with guest.udp(9) as receiver, guests.bound(socket.SOCK_DGRAM, 0) as sender:
        sender.sendto(b"intruder", ("10.0.0.10", 9))
        sender.sendto(b"marker", ("192.0.2.10", 9))
        assert texts_until(receiver, b"marker") == []
    guests.run("ip", "route", "delete", "10.0.0.0/24")


SPOOFS = {
    "another's MAC": lambda me, other: udp_frame(
        b"spoof", source=(other.mac, me.address), target=(other.mac, other.address)
    ),
    "a made-up MAC": lambda me, other: udp_frame(
        b"spoof", source=("0a:00:00:99:99:99", me.address), target=(other.mac, other.address)
    ),
    "another's address": lambda me, other: udp_frame(
        b"spoof", source=(me.mac, "10.0.0.12"), target=(other.mac, other.address)
    ),
    "the gateway's address": lambda me, other: udp_frame(
        b"spoof", source=(me.mac, "10.0.0.1"), target=(other.mac, other.address)
    ),
    "an IPv6 address": lambda me, other: guests.udp6_frame(
        b"spoof", source=(me.mac, "fd00::10"), target=(other.mac, "ff02::1")
    ),
    "another's IPv6 address": lambda me, other: guests.udp6_frame(
        b"spoof", source=(me.mac, "fe80::800:ff:fe01:c"), target=(other.mac, "ff02::1")
    ),
}


OPEN_BOTH_WAYS = (a_rule(IpProtocol.ALL), a_rule(IpProtocol.ALL, id="out", inbound=False))


@pytest.mark.parametrize("grouped", [False, True], ids=["in no group", "let in by a group"])
@pytest.mark.parametrize("spoof", SPOOFS.values(), ids=SPOOFS.keys())
def test_a_guest_cannot_send_under_another_identity(project, plug, spoof, grouped):
    groups = {project.group(*OPEN_BOTH_WAYS).id} if grouped else ()
    me, other = plug(project.port(10, "", groups), project.port(11, "", groups))
    with me.frames() as sender, other.frames() as receiver:
        sender.send(spoof(me.port, other.port))
        honest = udp_frame(
            b"honest", source=(me.port.mac, me.port.address), target=(other.port.mac, other.port.address)
        )
        sender.send(honest)
        assert not [frame for frame in frames_until(receiver, b"honest") if b"spoof" in frame]


@pytest.mark.parametrize("grouped", [False, True], ids=["in no group", "let in by a group"])
@pytest.mark.parametrize("claimed", ["10.0.0.1", "10.0.0.11", "10.0.0.12"])
@pytest.mark.parametrize("operation", [1, 2])
def test_a_guest_cannot_claim_another_address_by_arp(project, plug, claimed, operation, grouped):
    groups = {project.group(*OPEN_BOTH_WAYS).id} if grouped else ()
    me, other = plug(project.port(10, "", groups), project.port(11, "", groups))
    mac, claim = me.port.mac, (me.port.mac, claimed)
    with me.frames() as sender, other.frames() as receiver:
        for lie in (
            arp(operation, sender=claim, target=claim, ethernet_source=mac),
            arp(operation, sender=claim, target=("00:00:00:00:00:00", claimed), ethernet_source=mac),
            arp(operation, sender=claim, target=(other.port.mac, other.port.address), ethernet_source=mac),
            arp(operation, sender=(other.port.mac, claimed), target=claim, ethernet_source=mac),
        ):
            sender.send(lie)
            sender.send(guests.mac_bytes(other.port.mac) + lie[6:])
        sender.send(
            udp_frame(b"honest", source=(mac, me.port.address), target=(other.port.mac, other.port.address))
        )
        false_claim = socket.inet_aton(claimed)
        assert not [
            frame
            for frame in frames_until(receiver, b"honest")
            if frame[12:14] == b"\x08\x06"
            and frame[28:32] == false_claim
            and frame[6:12] == guests.mac_bytes(mac)
        ]


def test_a_guest_may_use_the_ipv6_address_of_its_own_mac(project, plug):
    me, other = plug(project.port(10), project.port(11))
    own = "fe80::800:ff:fe01:a"
    with me.frames() as sender, other.frames() as receiver:
        sender.send(
            guests.udp6_frame(b"honest", source=(me.port.mac, own), target=(other.port.mac, "ff02::1"))
        )
        frames_until(receiver, b"honest")


def test_a_removed_ports_external_address_is_free_for_the_next(fabric, project, stranger, plug):
    third = Project(fabric, 4, "10.0.2.0/24")
    old, caller, new = plug(third.port(10, "192.0.2.10"), project.port(11), stranger.port(12))
    old.serve(b"old")
    new.serve(b"new")
    assert ask_tcp("192.0.2.10", 80)[0] == b"old"
    assert caller.connect("192.0.2.10", 80) == (b"old", "192.0.2.2")
    fabric.remove_port(old.port.id)
    assert fabric.settled()
    with pytest.raises(OSError, match=r"No route to host|timed out"):
        socket.create_connection(("192.0.2.10", 80), timeout=1)
    moved = stranger.port(12, "192.0.2.10")
    fabric.remove_port(new.port.id)
    guests.run("ovs-vsctl", "set", "Interface", new.outer, f"external_ids:iface-id={moved.id}")
    guests.wait_for_port(moved)
    assert fabric.settled()
    assert ask_tcp("192.0.2.10", 80)[0] == b"new"
    assert caller.connect("192.0.2.10", 80) == (b"new", "192.0.2.2")


def test_names_of_the_projects_guests_are_answered_in_all_its_networks(fabric, project, plug):
    second = a_network(project.router, "10.0.7.0/24")
    fabric.put_network(second)
    away = a_port(second, 11)
    fabric.put_port(away)
    guest, other = plug(project.port(10), away)
    for name in ("vm-11", "VM-11", "vm-11.internal"):
        assert resolve(guest, name, EXTERNAL.gateway) == "10.0.7.11"
    assert resolve(other, "vm-10", EXTERNAL.gateway) == "10.0.0.10"
    other.serve(b"away")
    assert guest.connect("10.0.7.11", 80) == (b"away", "10.0.0.10")
    fabric.remove_port(away.id)
    assert fabric.settled()
    assert resolve(guest, "vm-11", EXTERNAL.gateway) == "refused"


def test_a_name_of_another_project_is_not_answered(project, stranger, plug):
    guest, _ = plug(project.port(10), stranger.port(11))
    assert resolve(guest, "vm-11", EXTERNAL.gateway) == "refused"


def test_an_address_of_the_external_range_that_nobody_has_does_not_answer(fabric, project):
    assert IPv4Address("192.0.2.77") not in {port.external_address for port in fabric.ports().values()}
    with pytest.raises(OSError, match=r"No route to host|timed out"):
        socket.create_connection(("192.0.2.77", 80), timeout=1)


@pytest.mark.parametrize(
    "daemon", ["ovs-vswitchd", "ovn-controller", "ovn-northd", "ovn-nb", "ovn-sb", "ovsdb-server"]
)
def test_packets_flow_and_changes_take_effect_after_a_daemon_was_killed(fabric, project, plug, daemon):
    guest = plug(project.port(external_address="192.0.2.10"))
    guest.serve(b"hello")
    os.kill(read_status(PATHS).daemons[daemon].pid, signal.SIGKILL)
    prepare_host()
    assert guests.once_back(lambda: ask_tcp("192.0.2.10", 80)) == (b"hello", "192.0.2.1")
    assert guests.once_back(fabric.settled)
    fabric.remove_port(guest.port.id)
    assert guests.once_back(lambda: is_silent("192.0.2.10"))


def is_silent(address):
    """Whether nobody answers there; right after a database came back, hosts may say too early that they follow it."""
    try:
        socket.create_connection((address, 80), timeout=1).close()
    except OSError:
        return True
    return False
