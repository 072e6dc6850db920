"""Security groups before real guests: what they let in and out, live, across restarts, and what is said about it."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from uuid import UUID

import pytest
from tests.e2e import world
from tests.e2e.real_cloud import RealCloud, Vm
from tests.waiting import eventually

from cumulet.doctor.daemons import PATHS
from cumulet.doctor.supervisor import read_status

pytestmark = pytest.mark.lab

PROJECT = "/v1/projects/default"
GROUPS = f"{PROJECT}/security-groups"
HOST = "198.19.0.1"
SERVE = "nc -ll -p 80 -e cat & nc -ll -p 8080 -e cat &"
SSH = {"id": "ssh", "protocol": "PROTOCOL_TCP", "ruleType": "RULE_TYPE_INBOUND", "ports": "22"}
WEB = {"id": "web", "protocol": "PROTOCOL_TCP", "ruleType": "RULE_TYPE_INBOUND", "ports": "80,8000:8090"}
NAMES = {"id": "names", "protocol": "PROTOCOL_UDP", "ruleType": "RULE_TYPE_INBOUND", "ports": "53"}
PING = {"id": "ping", "protocol": "PROTOCOL_ICMP", "ruleType": "RULE_TYPE_INBOUND", "icmpType": "8"}


def ovn(*command: str) -> str:
    return subprocess.run(("ovn-nbctl", *command), check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def group(cloud: RealCloud) -> str:
    """A group that lets SSH in; tests leave it so."""
    body = {"id": "guard", "dataCenterId": "local", "rules": [SSH]}
    cloud.ask("POST", GROUPS, json=body)
    return "guard"


@pytest.fixture(scope="module")
def guarded(cloud: RealCloud, group: str) -> Vm:
    """A guest behind the group that sends back whatever comes to TCP 80 and 8080."""
    return cloud.create("guarded", securityGroupIds=[group], startScript=SERVE).wait_for_ssh()


@pytest.fixture
def rules(cloud: RealCloud, group: str):
    """Replace the group's rules for one test."""

    def put(*rules):
        cloud.ask("PATCH", f"{GROUPS}/{group}", json={"rules": rules})

    yield put
    put(SSH)


def connects(address: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, port), timeout=2):
        return True
    return False


def is_refused(address: str, port: int) -> bool:
    """Whether a guest that has nobody there says so: then the datagram has arrived."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1)
        asking.connect((address, port))
        asking.send(b"hello")
        try:
            asking.recv(100)
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            return False
    raise AssertionError("somebody answered")


def is_pinged(address: str) -> bool:
    ping = ("ping", "-q", "-c", "1", "-W", "1", address)
    return subprocess.run(ping, stdout=subprocess.DEVNULL, check=False).returncode == 0


def reaches(vm: Vm, source: str, port: int, protocol: str = "tcp") -> dict[str, object]:
    asked = {"from": source, "protocol": protocol, "port": port}
    return vm.cloud.ask("GET", f"{vm.path}/reachability", params=asked)


def probed(address: str) -> dict[str, bool]:
    return {
        "tcp 22": connects(address, 22),
        "tcp 80": connects(address, 80),
        "tcp 8080": connects(address, 8080),
        "udp 53": is_refused(address, 53),
        "icmp 0": is_pinged(address),
    }


def said(vm: Vm, source: str) -> dict[str, bool]:
    """The same as the cloud says it."""
    asked = [key.split() for key in PROBES]
    return {
        f"{protocol} {port}": bool(reaches(vm, source, int(port), protocol)["reachable"])
        for protocol, port in asked
    }


PROBES = ("tcp 22", "tcp 80", "tcp 8080", "udp 53", "icmp 0")
"""Protocols and ports, as `probed` has them."""
CASES = {
    "nothing": ((), set()),
    "SSH": ((SSH,), {"tcp 22"}),
    "ports and a range": ((WEB,), {"tcp 80", "tcp 8080"}),
    "UDP and ping": ((NAMES, PING), {"udp 53", "icmp 0"}),
    "from the host alone": (({**WEB, "ipRangeCidr": HOST}, SSH), {"tcp 22", "tcp 80", "tcp 8080"}),
    "from elsewhere alone": (({**WEB, "ipRangeCidr": "203.0.113.0/24"}, SSH), {"tcp 22"}),
    "all": (({"protocol": "PROTOCOL_ALL", "ruleType": "RULE_TYPE_INBOUND"},), set(PROBES)),
}


OUTSIDE = {
    "SSH": ((SSH,), {"tcp 22"}),
    "from there alone": (({**WEB, "ipRangeCidr": f"{world.ADDRESS}/32"}, SSH, PING), {*PROBES} - {"udp 53"}),
    "from the host alone": (({**WEB, "ipRangeCidr": HOST}, SSH), {"tcp 22"}),
}


@pytest.mark.parametrize("case", OUTSIDE.values(), ids=OUTSIDE)
def test_the_world_outside_is_held_to_the_rules_too(guarded, rules, outside, case):
    wanted, passes = case
    rules(*wanted)
    address = guarded.external()
    expected = {key: key in passes for key in PROBES}
    with outside.entered():
        deadline = time.monotonic() + 120
        while (seen := probed(address)) != expected:
            assert time.monotonic() < deadline, seen
    assert said(guarded, world.ADDRESS) == expected


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_just_what_the_rules_say_comes_in_and_the_cloud_says_so(guarded, rules, case):
    wanted, passes = case
    rules(*wanted)
    address = guarded.external()
    expected = {key: key in passes for key in PROBES}
    deadline = time.monotonic() + 120
    while (seen := probed(address)) != expected:
        assert time.monotonic() < deadline, seen
    assert said(guarded, HOST) == expected


def test_a_neighbour_is_held_to_the_rules_as_well(guarded, rules, ann):
    rules(SSH, {**PING, "ipRangeCidr": ann.internal()})
    target = guarded.internal()
    eventually(lambda: ann.ssh(f"ping -q -c 1 -W 1 {target}").returncode == 0)
    assert ann.ssh(f"echo | nc -w 2 {target} 80").returncode != 0
    assert reaches(guarded, ann.internal(), 0, "icmp")["ruleId"] == "ping"
    assert reaches(guarded, ann.internal(), 80)["securityGroupId"] == "guard"


def test_another_project_is_held_to_them_at_the_external_address(guarded, rules, stranger):
    rules(SSH, WEB)
    address = guarded.external()
    eventually(lambda: stranger.ssh(f"echo hello | nc -w 3 {address} 80").stdout == b"hello\n")
    rules(SSH)
    eventually(lambda: stranger.ssh(f"echo hello | nc -w 2 {address} 80").stdout == b"")
    assert not reaches(guarded, stranger.external(), 80)["reachable"]


def test_a_connection_that_stands_is_cut_when_its_rule_goes(guarded, rules):
    rules(SSH, WEB)
    eventually(lambda: connects(guarded.external(), 80))
    with socket.create_connection((guarded.external(), 80), timeout=30) as standing:
        standing.sendall(b"before\n")
        assert standing.recv(100) == b"before\n"
        rules(SSH)
        eventually(lambda: not connects(guarded.external(), 80))
        standing.settimeout(3)
        standing.sendall(b"after\n")
        with pytest.raises(TimeoutError):
            standing.recv(100)


def test_outbound_rules_hold_a_guest_back(cloud, guarded, rules):
    get = f"echo | nc -w 3 {world.ADDRESS} 80"
    rules(SSH)
    eventually(lambda: guarded.ssh(get).stdout.startswith(b"world"))
    out = {"id": "out", "protocol": "PROTOCOL_TCP", "ruleType": "RULE_TYPE_OUTBOUND", "ports": "443"}
    rules(SSH, out)
    eventually(lambda: guarded.ssh(get).stdout == b"")
    rules(SSH, {**out, "ports": "80", "ipRangeCidr": f"{world.ADDRESS}/32"})
    eventually(lambda: guarded.ssh(get).stdout.startswith(b"world"))


def test_rules_stay_in_force_while_the_server_and_libvirt_are_away(cloud, guarded, rules):
    rules(SSH, WEB)
    address = guarded.external()
    eventually(lambda: connects(address, 80))
    os.kill(read_status(PATHS).daemons["libvirtd"].pid, signal.SIGKILL)
    cloud.kill()
    eventually(lambda: all(connects(address, port) for port in (22, 80, 8080)))
    assert not is_refused(address, 53)
    assert not is_pinged(address)
    cloud.start()
    rules(SSH)
    eventually(lambda: not connects(address, 80))
    eventually(lambda: connects(address, 22))


def test_spoofing_stays_impossible_in_a_group(guarded, ann):
    nobody = "10.77.200.201"
    guarded.output_of(f"ip addr add {nobody}/32 dev eth0")
    heard = ann.output_of("grep ^Icmp: /proc/net/snmp")
    guarded.ssh(f"ping -q -c 2 -W 1 -I {nobody} {ann.internal()}")
    assert ann.output_of("grep ^Icmp: /proc/net/snmp") == heard
    eventually(lambda: guarded.ssh(f"ping -q -c 1 -W 2 {ann.internal()}").returncode == 0)
    guarded.output_of(f"ip addr del {nobody}/32 dev eth0")


def test_what_was_taken_from_a_group_by_hand_comes_back(cloud, guarded, group):
    (id,) = cloud.column("select id from security_group where name = ?", group)
    owned = f"external_ids:cumulet-id={UUID(id)}"
    (name,) = ovn("--bare", "--columns=name", "find", "Port_Group", owned).split()
    before = acls_of(name)
    ovn("acl-del", name)
    eventually(lambda: acls_of(name) - before)
    eventually(lambda: not connects(guarded.external(), 80))
    eventually(lambda: connects(guarded.external(), 22))


def acls_of(port_group: str) -> set[str]:
    """The UUIDs of what a group has in OVN: what is put there anew is told from what was."""
    return set(ovn("--bare", "--columns=acls", "list", "Port_Group", port_group).split())
