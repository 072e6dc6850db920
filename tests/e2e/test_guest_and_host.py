"""What a guest has of the host that it runs on: asked from inside real guests."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.looks import pings_heard, tap_of
from tests.e2e.real_cloud import eventually
from tests.fabric.guests import run

pytestmark = pytest.mark.lab

SPOOFED = "203.0.113.77"
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
