"""What the host hears of a guest on its tap: asked by stand-ins behind a tap of ours and behind somebody else's."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fabric.guests import Namespace, arp, bound, router_advertisement, run, udp_frame
from tests.waiting import eventually

from cumulet.doctor.command import output_of
from cumulet.doctor.examine import examine_packets
from cumulet.doctor.findings import Level
from cumulet.doctor.prepare import ensure_bridges
from cumulet.doctor.taps import TABLE
from cumulet.hypervisor.taps import TAP_PREFIX

pytestmark = pytest.mark.lab

OURS, ANOTHERS = f"{TAP_PREFIX}0123456789", "vnet77"
GUEST_MAC = "0a:00:00:00:00:01"
NO_MAC = "00:00:00:00:00:00"
HOST, GUEST = "198.51.100.1", "198.51.100.2"
PREFIX = "2001:db8:bad::"
SECONDS = 2
"""How long is waited for what is not to come."""


@pytest.fixture(params=[OURS, ANOTHERS])
def guest(host, request) -> Iterator[Namespace]:
    """Behind an interface that has just got its name."""
    made = Namespace(GUEST_MAC)
    run("ip", "link", "set", made.outer, "down", "name", request.param)
    made.outer = request.param
    settings = Path("/proc/sys/net/ipv6/conf") / made.outer
    for name, value in (("disable_ipv6", 0), ("accept_ra", 2), ("autoconf", 1)):
        (settings / name).write_text(f"{value}\n")
    run("ip", "link", "set", made.outer, "up")
    run("ip", "address", "add", f"{HOST}/24", "dev", made.outer)
    yield made
    made.remove()


def test_a_router_s_announcement_gives_the_host_no_route(guest):
    with guest.frames() as raw:
        raw.send(router_advertisement(GUEST_MAC, PREFIX))
    comes_from_others_alone(lambda: PREFIX in run("ip", "-6", "route", "show", "dev", guest.outer), guest)


def test_the_host_says_nothing_by_arp(guest):
    question = arp(1, sender=(GUEST_MAC, GUEST), target=(NO_MAC, HOST), ethernet_source=GUEST_MAC)
    with guest.frames() as raw:
        raw.settimeout(0)
        raw.send(question)
        comes_from_others_alone(lambda: is_arp_answer(raw), guest)


def test_the_host_takes_no_packet(guest):
    mac = Path(f"/sys/class/net/{guest.outer}/address").read_text().strip()
    packet = udp_frame(b"hello", source=(GUEST_MAC, GUEST), target=(mac, HOST), port=5353)
    with bound(socket.SOCK_DGRAM, 5353) as service, guest.frames() as raw:
        service.settimeout(0)
        raw.send(packet)
        comes_from_others_alone(lambda: received(service), guest)


def test_the_host_gives_a_tap_no_ipv6_address(guest, host):
    ensure_bridges(host.datapath)
    assert bool(run("ip", "-6", "address", "show", "dev", guest.outer)) is (guest.outer == ANOTHERS)


@pytest.mark.parametrize("family", ["inet", "arp"])
def test_rules_that_were_taken_away_are_missed_and_come_back(host, family):
    output_of("nft", "delete", "table", family, TABLE)
    assert judged() is Level.DEGRADED
    ensure_bridges(host.datapath)
    assert judged() is Level.OK


def judged() -> Level:
    return next(finding.level for finding in examine_packets() if finding.name == "VMs' taps")


def comes_from_others_alone(look, guest: Namespace) -> None:
    """Wait for what another's tap leads to, and look for a while that ours does not."""
    if guest.outer == ANOTHERS:
        eventually(look)
        return
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        assert not look()
        time.sleep(0.05)


def received(receiver: socket.socket) -> bytes:
    try:
        return receiver.recv(2048)
    except BlockingIOError:
        return b""


def is_arp_answer(raw: socket.socket) -> bool:
    frame = received(raw)
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\x02"
