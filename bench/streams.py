"""One TCP stream by OVN, with and without a security group, beside the same on a plain Linux bridge, in turns.

The guests are stand-ins: network namespaces plugged in by a veth pair as a VM's tap would be, so that what is measured
is the way of the packets and not how fast a CPU is emulated. Checksum offloading is off on all of them, as it is for
guests where OVS's datapath is the userspace one. To the outside means: to another namespace behind the host, by
address translation from OVN, by plain routing from the bridge.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Interface, IPv4Network
from statistics import median
from typing import Final

from bench.figure import Figure, say
from tests.fabric.guests import Guest, Namespace, run, wait_for_port
from tests.fabric.specs import EXTERNAL, Project, a_rule

from cumulet.doctor.bridges import ensure_external_bridge
from cumulet.doctor.forwarding import FOR_VMS_ALONE, FORWARDING
from cumulet.doctor.prepare import prepare_host
from cumulet.doctor.uplink import Reach
from cumulet.fabric import IpProtocol, PortSpec
from cumulet.fabric.ovn import open_fabric

SECONDS: Final = 2.0
TURNS: Final = 3
CHUNK: Final = bytes(1 << 17)
PORT: Final = 5001
BRIDGE: Final = "plain"
WORLD: Final = "198.51.100.2"
Way = Callable[[], float]
"""Lets a stream run; gives MiB a second."""


def streams() -> list[Figure]:
    """Let a stream run on each way, in turns, and compare."""
    with ExitStack() as stack:
        stack.enter_context(the_world())
        by_bridge = stack.enter_context(on_bridge())
        datapath, by_ovn = stack.enter_context(on_ovn())
        ways = {**by_bridge, **by_ovn}
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(TURNS):
            for name, way in ways.items():
                rates[name].append(way())
                say(f"streams: turn {turn}: {name}: {rates[name][-1]:.0f} MiB/s")
    middle = {name: median(each) for name, each in rates.items()}
    return [
        compared(middle, target, group, datapath)
        for target in ("between two guests", "from a guest to the outside")
        for group in ("", ", security group")
    ]


def compared(rates: Mapping[str, float], target: str, group: str, datapath: str) -> Figure:
    """Set a way by OVN beside the bridge's."""
    ours, plain = rates[f"OVN {target}{group}"], rates[f"bridge {target}"]
    words = f"{ours / plain:.2f} × a Linux bridge ({ours:.0f} MiB/s, bridge {plain:.0f}; {datapath})"
    return Figure(f"stream {target}{group} (stand-ins)", words)


@contextmanager
def the_world() -> Iterator[None]:
    """Make somebody outside, behind the host, who forwards for the plain bridge as well."""
    FOR_VMS_ALONE.unlink(missing_ok=True)
    FORWARDING.write_text("1\n")
    world = Namespace()
    run("ip", "address", "replace", "198.51.100.1/24", "dev", world.outer)
    world.give(f"{WORLD}/24", "198.51.100.1")
    with world.entered():
        receive_all()
    yield
    world.remove()


@contextmanager
def on_bridge() -> Iterator[Mapping[str, Way]]:
    """Plug two stand-ins into a Linux bridge that the host has an address on."""
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", "10.9.0.1/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    guests = [Namespace(), Namespace()]
    for number, guest in enumerate(guests, start=10):
        guest.give(f"10.9.0.{number}/24", "10.9.0.1")
        run("ip", "link", "set", guest.outer, "master", BRIDGE)
    with guests[1].entered():
        receive_all()
    yield {
        "bridge between two guests": lambda: send(guests[0], "10.9.0.11"),
        "bridge from a guest to the outside": lambda: send(guests[0], WORLD),
    }
    for guest in guests:
        guest.remove()
    run("ip", "link", "delete", BRIDGE)


@contextmanager
def on_ovn() -> Iterator[tuple[str, Mapping[str, Way]]]:
    """Plug two pairs of stand-ins into a network of OVN: open ones, and ones in a group that lets the stream in."""
    host = prepare_host()
    gateway = IPv4Interface(f"{EXTERNAL.gateway}/{EXTERNAL.range.prefixlen}")
    reach = Reach(networks=(IPv4Network(WORLD),))
    ensure_external_bridge(EXTERNAL.bridge, gateway, datapath=host.datapath, reach=reach)
    with closing(open_fabric(host.northbound, installation="bench")) as fabric:
        project = Project(fabric)
        group = project.group(
            a_rule(IpProtocol.TCP, (PORT, PORT)), a_rule(IpProtocol.ALL, id="out", inbound=False)
        )
        open_ports = [project.port(10, "192.0.2.10"), project.port(11)]
        guarded = [project.port(12, "192.0.2.12", {group.id}), project.port(13, groups={group.id})]
        guests = {port.address: plugged(port) for port in (*open_ports, *guarded)}
        for ports in (open_ports, guarded):
            with guests[ports[1].address].entered():
                receive_all()
        fabric.settled()
        yield (
            f"{host.datapath} datapath",
            {
                f"OVN {target}{suffix}": (
                    lambda sender=guests[ports[0].address], to=str(address): send(sender, to)
                )
                for ports, suffix in ((open_ports, ""), (guarded, ", security group"))
                for target, address in (
                    ("between two guests", ports[1].address),
                    ("from a guest to the outside", WORLD),
                )
            },
        )
        for guest in guests.values():
            guest.remove()
        fabric.remove_network(project.network.id)
        fabric.remove_group(group.id)
        fabric.remove_router(project.router.id)


def plugged(port: PortSpec) -> Guest:
    """Make a stand-in for a port; returns when OVN has plugged it in."""
    guest = Guest(port)
    guest.ip("link", "set", "eth0", "mtu", "1442")
    wait_for_port(port)
    return guest


def receive_all() -> None:
    """Take in what comes on every connection, in this thread's namespace, and say at its end how much it was."""
    listener = socket.create_server(("", PORT))

    def receive() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                buffer, received = bytearray(1 << 20), 0
                while count := connection.recv_into(buffer):
                    received += count
                connection.sendall(str(received).encode())

    threading.Thread(target=receive, daemon=True).start()


def send(sender: Namespace, address: str) -> float:
    """Send for some seconds; give the MiB a second that arrived."""
    with sender.entered():
        connection = socket.create_connection((address, PORT), timeout=10)
    with connection:
        began = time.perf_counter()
        while time.perf_counter() - began < SECONDS:
            connection.sendall(CHUNK)
        connection.shutdown(socket.SHUT_WR)
        received = int(connection.recv(64))
        return received / (time.perf_counter() - began) / 2**20
