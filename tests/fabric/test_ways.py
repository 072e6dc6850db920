"""The ways that a network has: IPv6 within the project, stopped and started again, and without a default route."""

import socket
from dataclasses import replace
from ipaddress import IPv6Network

import pytest
from tests.fabric import guests
from tests.fabric.guests import ask_tcp, dhcp, resolve, texts_until
from tests.fabric.packets import Packet, arriving, end
from tests.fabric.specs import EXTERNAL, a_network, a_port
from tests.waiting import eventually

from cumulet.fabric.addresses import own_address
from cumulet.fabric.ovn.addresses import LINK_LOCAL

pytestmark = pytest.mark.lab


def local_address(guest, range_="fd00:10::/64"):
    return str(own_address(IPv6Network(range_), guest.port.mac))


def wait_for_local_address(guest, address):
    """Start the guest's IPv6 anew, and return when it has made its address of what the router announced."""
    guest.ip("link", "set", "eth0", "down")
    guest.ip("link", "set", "eth0", "up")
    guest.ip("route", "replace", "default", "via", guest.port.address.exploded.rpartition(".")[0] + ".1")

    def is_there():
        there = guest.ip("-6", "address", "show", "dev", "eth0")
        return f"{address}/64" in there and "tentative" not in there

    eventually(is_there)


def test_guests_reach_each_other_by_ipv6_in_all_networks_of_a_project(fabric, project, plug):
    other = a_network(project.router, "10.0.7.0/24", "fd00:11::/64")
    fabric.put_network(other)
    away = a_port(other, 12)
    fabric.put_port(away)
    one, two, three = plug(project.port(10), project.port(11), away)
    servers = ((two, local_address(two)), (three, local_address(three, "fd00:11::/64")))
    for guest, address in ((one, local_address(one)), *servers):
        wait_for_local_address(guest, address)
    for number, (guest, address) in enumerate(servers):
        assert resolve(one, f"vm-{11 + number}", EXTERNAL.gateway, kind=socket.AF_INET6) == address
        with guest.entered():
            listener = socket.create_server(("::", 80), family=socket.AF_INET6)
        with one.entered():
            calling = socket.create_connection((address, 80), timeout=guests.SECONDS)
        called, (caller, *_) = listener.accept()
        assert caller == local_address(one)
        for each in (listener, calling, called):
            each.close()


def test_ipv6_of_another_guest_cannot_be_used(project, plug):
    me, other = plug(project.port(10), project.port(11))
    own, target = end(me.port.mac, local_address(me)), end(other.port.mac, local_address(other))
    packet = Packet("udp", 9)
    assert arriving([packet], me, other, ends=(own, target)) == [packet]
    for address in ("fd00:10::800:ff:fe01:c", "fd00:10::1", "2001:db8::1", "fe80::1", local_address(other)):
        assert arriving([packet], me, other, ends=(end(me.port.mac, address), target)) == []


def test_ipv6_does_not_lead_into_a_project_from_its_way_out(project, plug):
    guest = plug(project.port(10, "192.0.2.10"))
    router = own_address(LINK_LOCAL, project.router.mac)
    guests.run("ip", "-6", "address", "replace", "fd00:77::1/64", "dev", EXTERNAL.bridge, "nodad")
    guests.run("ip", "-6", "route", "replace", "fd00:10::/64", "via", str(router), "dev", EXTERNAL.bridge)
    neighbour = ("lladdr", project.router.mac, "dev", EXTERNAL.bridge)
    guests.run("ip", "-6", "neighbour", "replace", str(router), *neighbour)
    with guest.frames() as heard, socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"intruder", (local_address(guest), 9))
        with guests.bound(socket.SOCK_DGRAM, 0) as known:
            known.sendto(b"marker", ("192.0.2.10", 9))
        assert not [frame for frame in guests.frames_until(heard, b"marker") if b"intruder" in frame]
    guests.run("ip", "-6", "address", "delete", "fd00:77::1/64", "dev", EXTERNAL.bridge)


def test_a_stopped_network_leads_nowhere_until_it_is_started_again(fabric, project, plug):
    other = a_network(project.router, "10.0.7.0/24", "fd00:11::/64")
    fabric.put_network(other)
    away = a_port(other, 12)
    fabric.put_port(away)
    one, two, three = plug(project.port(10, "192.0.2.10"), project.port(11), away)
    for server, word in ((one, b"one"), (two, b"two"), (three, b"three")):
        server.serve(word)
    guests.serve_tcp(b"host", 8084)

    def works():
        assert ask_tcp("192.0.2.10", 80)[0] == b"one"
        assert one.connect("10.0.7.12", 80)[0] == b"three"
        assert two.connect("192.0.2.1", 8084)[0] == b"host"
        assert resolve(one, "vm-11", EXTERNAL.gateway) == "10.0.0.11"

    works()
    fabric.put_network(replace(project.network, joined=False))
    guests.wait_until_in_force(fabric)
    assert one.connect("10.0.0.11", 80) == (b"two", "10.0.0.10")
    address, options = dhcp(two)
    assert (address, options[3]) == ("10.0.0.11", socket.inet_aton("10.0.0.1"))
    two.give("10.0.0.11/24", "10.0.0.1")
    for guest, to in ((one, ("10.0.7.12", 80)), (two, ("192.0.2.1", 8084))):
        with guest.entered(), pytest.raises(OSError, match=r"No route to host|timed out"):
            socket.create_connection(to, timeout=0.7)
    with pytest.raises(OSError, match=r"No route to host|timed out"):
        socket.create_connection(("192.0.2.10", 80), timeout=0.7)
    assert resolve(three, "vm-11", EXTERNAL.gateway) == "refused"
    fabric.put_network(project.network)
    guests.wait_until_in_force(fabric)
    works()


def test_a_port_that_does_not_lead_out_gets_no_default_route(fabric, project, plug):
    guest = plug(project.port())
    assert 3 in dhcp(guest)[1]
    fabric.put_port(replace(guest.port, leads_out=False))
    guests.wait_until_in_force(fabric)
    address, options = dhcp(guest)
    assert address == "10.0.0.10"
    assert 3 not in options
    assert options[6] == socket.inet_aton("192.0.2.1")


def test_the_world_cannot_ask_for_a_projects_names(project, plug):
    guest = plug(project.port(10, "192.0.2.10"))
    with guest.udp(53) as server, guests.bound(socket.SOCK_DGRAM, 0) as asking:
        asking.sendto(guests.dns_query("vm-10"), ("192.0.2.10", 53))
        asking.sendto(b"marker", ("192.0.2.10", 53))
        assert texts_until(server, b"marker") == [guests.dns_query("vm-10")]
