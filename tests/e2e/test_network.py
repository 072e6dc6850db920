"""What guests can send each other, and what not: asked from inside real guests."""

import os
import socket
import subprocess

import pytest
from tests.e2e.looks import pings_heard
from tests.e2e.real_cloud import Vm
from tests.waiting import eventually

pytestmark = pytest.mark.lab

GATEWAY = "10.77.0.1"
HOST = "198.19.0.1"
NOBODYS = "10.77.200.200"
FOREIGN_MAC = "02:00:00:00:be:ef"


def pings(vm: Vm, target: str, *, patience: int = 10) -> bool:
    return vm.ssh(f"ping -q -c 1 -W {patience} {target}").returncode == 0


def greeting(vm: Vm, target: str) -> str:
    """What the SSH server of another says at once to the guest, by TCP."""
    return vm.output_of(f"echo | nc -w 5 {target} 22 | head -n 1", timeout=30)


def host_connects(address: str) -> bool:
    try:
        with socket.create_connection((address, 22), timeout=2):
            return True
    except OSError:
        return False


def test_vms_of_a_project_reach_each_other_by_address_and_by_name(ann, bob):
    """A name is known by its IPv6 address before a guest that boots has made that."""
    for target in (bob.internal(), "bob", "bob.internal"):
        eventually(lambda target=target: pings(ann, target))
        eventually(lambda target=target: greeting(ann, target).startswith("SSH-2.0-"))


def test_another_project_of_the_same_range_is_out_of_reach(ann, bob, stranger):
    assert {vm.internal().rpartition(".")[0] for vm in (ann, bob, stranger)} == {"10.77.0"}
    heard = pings_heard(bob)
    assert not pings(stranger, bob.internal(), patience=2)
    for way in (GATEWAY, bob.external(), HOST, router_of(bob)):
        stranger.output_of(f"ip route replace {bob.internal()}/32 via {way} dev eth0 onlink")
        assert not pings(stranger, bob.internal(), patience=2)
    stranger.output_of(f"ip route del {bob.internal()}/32")
    assert pings_heard(bob) == heard
    assert pings(ann, bob.internal())
    assert pings_heard(bob) == heard + 1


def test_another_projects_name_is_not_known(stranger):
    assert not pings(stranger, "bob", patience=2)


def test_another_project_is_reached_at_its_external_address(bob, stranger):
    assert greeting(stranger, bob.external()).startswith("SSH-2.0-")


def test_the_host_cannot_slip_past_the_external_address(bob):
    route = (f"{bob.internal()}/32", "via", router_of(bob))
    subprocess.run(("ip", "route", "add", *route), check=True)
    try:
        assert not host_connects(bob.internal())
        eventually(lambda: host_connects(bob.external()))
    finally:
        subprocess.run(("ip", "route", "del", *route), check=True)


SPOOFS = {
    "a made-up MAC": (f"ip link set eth0 address {FOREIGN_MAC}", "", "ip link set eth0 address {mac}"),
    "another's MAC": ("ip link set eth0 address {others_mac}", "", "ip link set eth0 address {mac}"),
    "a made-up address": (
        f"ip addr add {NOBODYS}/32 dev eth0",
        f"-I {NOBODYS}",
        f"ip addr del {NOBODYS}/32 dev eth0",
    ),
    "the gateway's address": (
        f"ip addr add {GATEWAY}/32 dev eth0",
        f"-I {GATEWAY}",
        f"ip addr del {GATEWAY}/32 dev eth0",
    ),
}


@pytest.mark.parametrize("spoof", SPOOFS.values(), ids=SPOOFS)
def test_what_a_guest_sends_as_another_is_dropped(ann, bob, stranger, spoof):
    facts = {"mac": mac_of(ann), "others_mac": mac_of(stranger)}
    begin, options, end = (part.format(**facts) for part in spoof)
    assert pings(ann, bob.internal())
    heard = pings_heard(bob)
    ann.output_of(f"{begin} && ping -q -c 2 -W 1 {options} {bob.internal()}; {end}")
    assert pings_heard(bob) == heard
    assert pings(ann, bob.internal())
    assert pings_heard(bob) == heard + 1


def test_a_guest_cannot_answer_arp_for_an_address_that_is_not_its_own(ann, bob):
    ann.output_of(f"ip addr add {NOBODYS}/32 dev eth0")
    arping = "arping -q -c 1 -w 2 -I eth0"
    assert bob.ssh(f"{arping} {NOBODYS}").returncode == 1
    assert bob.ssh(f"{arping} {ann.internal()}").returncode == 0
    ann.output_of(f"ip addr del {NOBODYS}/32 dev eth0")


def test_an_external_address_carries_much_both_ways_and_full_packets(ann):
    blob = os.urandom(4 << 20)
    assert ann.ssh("cat", stdin=blob, timeout=120).stdout == blob
    ip_and_icmp_headers = 28
    size = int(ann.output_of("cat /sys/class/net/eth0/mtu")) - ip_and_icmp_headers
    ping = ("ping", "-q", "-c", "1", "-W", "5", "-M", "do", "-s", str(size), ann.external())
    subprocess.run(ping, check=True, stdout=subprocess.DEVNULL)


def router_of(vm: Vm) -> str:
    """The external address of the router of the VM's project."""
    query = "select address from external_address join router on router.id = holder_id where router.project_id = ?"
    (address,) = vm.cloud.column(query, vm.project)
    return address


def mac_of(vm: Vm) -> str:
    return vm.output_of("cat /sys/class/net/eth0/address").strip()
