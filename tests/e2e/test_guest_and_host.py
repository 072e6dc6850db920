"""What a guest has of the host that it runs on: asked from inside real guests."""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e import world
from tests.e2e.looks import pings_heard, tap_of
from tests.e2e.real_cloud import RealCloud, Vm
from tests.fabric.guests import Namespace, run
from tests.waiting import eventually

pytestmark = pytest.mark.lab

SPOOFED = "203.0.113.77"
GATEWAY = "198.19.0.1"
PORT = 8490
NOBODYS = "10.77.200.201"


@contextlib.contextmanager
def service(address: str, port: int) -> Iterator[list[str]]:
    """A TCP service of the host; the addresses of those who have reached it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    came: list[str] = []

    def answer() -> None:
        with contextlib.suppress(OSError):  # the end of the test
            while True:
                connection, (caller, *_) = listener.accept()
                came.append(caller)
                with connection:
                    connection.sendall(b"hello\n")

    with socket.create_server((address, port), family=family) as listener:
        threading.Thread(target=answer, daemon=True).start()
        yield came
        listener.shutdown(socket.SHUT_RDWR)


def link_local(device: str) -> str:
    """The host's own address there, once it is sure of it."""
    words = run(
        "ip", "-6", "-oneline", "address", "show", "dev", device, "scope", "link", "-tentative"
    ).split()
    return words[3].partition("/")[0] if words else ""


def test_a_guest_does_not_reach_what_the_host_serves_on_its_tap(ann):
    """Though the host has an address there, as on a tap that has appeared just now."""
    tap = tap_of(ann)

    def refused() -> bool:
        (Path("/proc/sys/net/ipv6/conf") / tap / "disable_ipv6").write_text("0\n")
        address = eventually(lambda: link_local(tap))
        assert ann.ssh(f"nc -w 3 {address}%eth0 8481 </dev/null").stdout == b""
        assert ann.ssh(f"ping -c 1 -W 2 {address}%eth0").returncode == 1
        return link_local(tap) == address  # or a look after the taps has taken it away meanwhile

    with service("::", 8481) as came:
        eventually(refused)
        assert came == []


def test_a_guest_does_not_slip_past_anothers_rules_by_way_of_its_own_tap(ann, bob):
    """In frames for the tap itself, which the host would pass on, whatever source they name."""
    mac = Path(f"/sys/class/net/{tap_of(ann)}/address").read_text().strip()
    heard = pings_heard(bob)
    ann.output_of(
        f"ip addr add {SPOOFED}/32 dev eth0 && arp -s {NOBODYS} {mac} &&"
        f" ip route add {bob.external()}/32 via {NOBODYS} dev eth0 onlink;"
        f" ping -q -c 2 -W 1 -I {SPOOFED} {bob.external()};"
        f" ip route del {bob.external()}/32; arp -d {NOBODYS}; ip addr del {SPOOFED}/32 dev eth0"
    )
    assert pings_heard(bob) == heard


def hears(vm: Vm, address: str, port: int = PORT) -> str:
    """What a TCP service says to a guest, if it reaches it."""
    return vm.ssh(f"nc -w 3 {address} {port} </dev/null").stdout.decode()


def asks(vm: Vm, resolver: str) -> bool:
    """Whether a resolver of the host's own hears a guest, by UDP."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind((resolver, 53))
        listener.settimeout(0.5)
        vm.ssh(f"nslookup {world.NAME} {resolver}", timeout=20)
        with contextlib.suppress(TimeoutError):
            return bool(listener.recv(512))
    return False


@pytest.mark.parametrize("address", [GATEWAY, world.HOST])
def test_a_guest_reaches_nothing_that_its_host_serves(ann, address):
    with service("0.0.0.0", PORT) as came:  # noqa: S104 - as an API that listens everywhere
        assert hears(ann, address) == ""
        assert came == []
    assert not asks(ann, address)


@pytest.mark.parametrize("address", [world.ROUTER, world.METADATA])
def test_a_guest_reaches_nothing_of_what_is_beside_its_host(ann, address):
    assert hears(ann, address, 80) == ""
    assert ann.ssh(f"ping -c 1 -W 2 {address}").returncode == 1


def test_a_guest_reaches_the_world_by_name_and_its_host_by_ping(ann):
    for name in (world.NAME, world.ADDRESS):
        eventually(lambda name=name: hears(ann, name, 80) == f"world {world.HOST}")
    ann.output_of(f"ping -c 1 -W 5 {GATEWAY}")


def test_the_host_is_no_router_for_others(cloud, outside):
    branch = Namespace()
    run("ip", "address", "add", "192.168.78.1/24", "dev", branch.outer)
    branch.give("192.168.78.2/24", "192.168.78.1")
    branch.serve(b"branch")
    with pytest.raises(TimeoutError):
        outside.connect("192.168.78.2", 80)
    branch.remove()


@pytest.fixture
def opened(cloud: RealCloud, ann) -> Iterator[None]:
    """The operator lets guests reach more, for one test."""
    usual = cloud.catalogue.read_text()
    more = {"reachable_networks": [f"{world.ROUTER}/32", f"{world.METADATA}/32"]}
    more["reachable_services"] = [f"{PORT}/tcp", "53/udp"]
    listed = usual
    for key, value in more.items():
        listed = re.sub(rf"(?m)^{key} = \[\]", f"{key} = {json.dumps(value)}", listed)
    cloud.offer(listed)
    yield
    cloud.offer(usual)
    eventually(lambda: not hears(ann, world.ROUTER, 80))


def test_a_guest_reaches_what_the_operator_lists(ann, opened):
    eventually(lambda: hears(ann, world.ROUTER, 80) == f"world {world.HOST}")
    eventually(lambda: hears(ann, world.METADATA, 80) == f"world {world.HOST}")
    with service("0.0.0.0", PORT) as came:  # noqa: S104 - likewise
        eventually(lambda: hears(ann, GATEWAY) == "hello\n")
        assert came
    eventually(lambda: asks(ann, GATEWAY))
