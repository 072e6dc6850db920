"""Stand-ins for VMs: network namespaces plugged into OVN as a VM's tap would be. Start in milliseconds, speak anything."""

import ctypes
import itertools
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address
from typing import Protocol, TypeVar

from tests.waiting import eventually

from cumulet.fabric import Fabric, FabricUnreachable, PortSpec

T = TypeVar("T")

SECONDS = 10.0
"""How long a packet that must come is waited for."""

NOBODY = IPv4Address(0)
DHCP_DISCOVER = bytes.fromhex("63825363 350101 3706 01 03 06 0c 0f 1a ff")
"""The cookie, the kind of message, and what is asked for: mask, router, DNS, host name, domain, MTU."""
DHCP_REQUEST = bytes.fromhex("63825363 350103 3706 01 03 06 0c 0f 1a ff")
DHCP_KIND, DHCP_ACKNOWLEDGED = 53, b"\x05"
DHCP_END = 255
RECORDS = {socket.AF_INET: 1, socket.AF_INET6: 28}
"""What DNS calls an address of a family: A and AAAA."""

_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


def run(*argv: object) -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


class Namespace:
    """A network namespace with one end of a veth pair, `eth0`; the other end is `outer` in the host's own."""

    def __init__(self, mac: str = "") -> None:
        number = next(_numbers)
        self.name, self.outer = f"ns{number}", f"veth{number}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.outer, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        if mac:
            self.ip("link", "set", "eth0", "address", mac)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "eth0", "up")
        run("ip", "netns", "exec", self.name, "ethtool", "--offload", "eth0", "tx", "off")
        run("ip", "link", "set", self.outer, "up")

    def ip(self, *words: object) -> str:
        return run("ip", "-netns", self.name, *words)

    def give(self, address: object, gateway: object | None = None) -> None:
        """Set an address with its prefix length, and the way to the rest."""
        self.ip("address", "replace", address, "dev", "eth0")
        if gateway:
            self.ip("route", "replace", "default", "via", gateway)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Be there with this thread; sockets made there stay there."""
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        there = os.open(f"/run/netns/{self.name}", os.O_RDONLY)
        try:
            assert _libc.setns(there, 0) == 0, os.strerror(ctypes.get_errno())
            yield
        finally:
            assert _libc.setns(own, 0) == 0, os.strerror(ctypes.get_errno())
            os.close(own)
            os.close(there)

    def udp(self, port: int = 0) -> socket.socket:
        """A UDP socket there."""
        with self.entered():
            return bound(socket.SOCK_DGRAM, port)

    def frames(self) -> socket.socket:
        """A socket there for whole Ethernet frames, both ways."""
        with self.entered():
            raw = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            raw.bind(("eth0", 3))
        raw.settimeout(SECONDS)
        return raw

    def connect(self, address: object, port: int) -> tuple[bytes, str]:
        """What a TCP server says, and whom it says it sees."""
        with self.entered():
            return ask_tcp(address, port)

    def serve(self, word: bytes, port: int = 80) -> None:
        """Answer TCP connections with a word, until the end of the process."""
        with self.entered():
            serve_tcp(word, port)

    def remove(self) -> None:
        run("ip", "netns", "delete", self.name)


class Machine(Protocol):
    """Another machine than the private host itself."""

    init: int
    """A process there."""

    def run(self, *argv: object) -> str:
        """Run a command there."""


class Guest(Namespace):
    """A namespace in the place of the VM that a port is for, with its address set as DHCP would; on another machine too."""

    def __init__(self, port: PortSpec, machine: Machine | None = None) -> None:
        super().__init__(port.mac)
        self.port = port
        self.give(f"{port.address}/24", f"{port.address.exploded.rpartition('.')[0]}.1")
        self.run_on_host = machine.run if machine else run
        if machine:
            run("ip", "link", "set", self.outer, "netns", machine.init)
            machine.run("ip", "link", "set", self.outer, "up")
        plug = f"external_ids:iface-id={port.id}"
        self.run_on_host(
            "ovs-vsctl", "add-port", "br-int", self.outer, "--", "set", "Interface", self.outer, plug
        )

    def remove(self) -> None:
        self.run_on_host("ovs-vsctl", "--if-exists", "del-port", "br-int", self.outer)
        super().remove()


def once_back(look: Callable[[], T]) -> T:
    """What a look answers once it answers truly, while daemons come back."""

    def looked() -> T | None:
        with suppress(OSError, FabricUnreachable):
            return look()
        return None

    seen = eventually(looked)
    assert seen is not None
    return seen


def bound(kind: socket.SocketKind, port: int) -> socket.socket:
    """A socket of this thread's namespace."""
    made = socket.socket(socket.AF_INET, kind)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.settimeout(SECONDS)
    made.bind(("", port))
    return made


def serve_tcp(word: bytes, port: int) -> None:
    """Tell everyone a word and the address that he seems to have."""
    listener = bound(socket.SOCK_STREAM, port)
    listener.settimeout(None)
    listener.listen()

    def answer() -> None:
        while True:
            connection, (caller, _) = listener.accept()
            with connection:
                connection.sendall(word + b" " + caller.encode())

    threading.Thread(target=answer, daemon=True).start()


def ask_tcp(address: object, port: int) -> tuple[bytes, str]:
    """What a server of `serve_tcp` says."""
    with socket.create_connection((str(address), port), timeout=SECONDS) as connection:
        word, caller = connection.makefile("rb").read().split()
    return word, caller.decode()


def ethernet(target: str, source: str, kind: int, payload: bytes) -> bytes:
    return mac_bytes(target) + mac_bytes(source) + struct.pack("!H", kind) + payload


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def arp(
    operation: int, *, sender: tuple[str, object], target: tuple[str, object], ethernet_source: str
) -> bytes:
    """An ARP frame to everybody; 1 asks, 2 answers."""
    payload = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    for mac, address in (sender, target):
        payload += mac_bytes(mac) + socket.inet_aton(str(address))
    return ethernet("ff:ff:ff:ff:ff:ff", ethernet_source, 0x0806, payload)


def udp_frame(text: bytes, *, source: tuple[str, object], target: tuple[str, object], port: int = 9) -> bytes:
    """A UDP datagram in IPv4 in a frame; its UDP checksum is left out, as IPv4 allows."""
    udp = struct.pack("!HHHH", 1000, port, 8 + len(text), 0) + text
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0)
    addresses = socket.inet_aton(str(source[1])) + socket.inet_aton(str(target[1]))
    header = header[:10] + struct.pack("!H", internet_checksum(header + addresses)) + addresses
    return ethernet(target[0], source[0], 0x0800, header + udp)


def udp6_frame(text: bytes, *, source: tuple[str, str], target: tuple[str, str]) -> bytes:
    """A UDP datagram in IPv6 in a frame."""
    addresses = socket.inet_pton(socket.AF_INET6, source[1]) + socket.inet_pton(socket.AF_INET6, target[1])
    udp = struct.pack("!HHHH", 1000, 9, 8 + len(text), 0) + text
    pseudo_header = addresses + struct.pack("!II", len(udp), 17)
    checksum = internet_checksum(pseudo_header + udp)
    udp = udp[:6] + struct.pack("!H", checksum) + udp[8:]
    return ethernet(
        target[0], source[0], 0x86DD, struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + addresses + udp
    )


def router_advertisement(mac: str, prefix: str) -> bytes:
    """A frame by which somebody offers all as their uplink, and a prefix of 64 bits to make addresses of."""
    option = struct.pack("!BBBBIII", 3, 4, 64, 0xC0, 3600, 3600, 0) + socket.inet_pton(
        socket.AF_INET6, prefix
    )
    message = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
    ends = b"".join(socket.inet_pton(socket.AF_INET6, end) for end in ("fe80::1234", "ff02::1"))
    checksum = internet_checksum(ends + struct.pack("!II", len(message), 58) + message)
    message = message[:2] + struct.pack("!H", checksum) + message[4:]
    header = struct.pack("!IHBB", 6 << 28, len(message), 58, 255)
    return ethernet("33:33:00:00:00:01", mac, 0x86DD, header + ends + message)


def internet_checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2]))
    total += data[-1] << 8 if len(data) % 2 else 0
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def frames_until(raw: socket.socket, marker: bytes) -> list[bytes]:
    """The frames that arrive up to the one with the marker in it."""
    deadline, seen = time.monotonic() + SECONDS, []
    while time.monotonic() < deadline:
        frame, (_, _, direction, *_) = raw.recvfrom(2048)
        if direction != socket.PACKET_OUTGOING:
            seen.append(frame)
            if marker in frame:
                return seen
    raise AssertionError(f"{marker!r} did not come; came: {seen}")


def texts_until(receiver: socket.socket, marker: bytes) -> list[bytes]:
    """The datagrams that arrive before the marker."""
    seen = []
    while (text := receiver.recv(2048)) != marker:
        seen.append(text)
    return seen


def dhcp(guest: Guest) -> tuple[str, dict[int, bytes]]:
    """Ask for an address as a guest's first boot does: the address offered and the options with it."""
    guest.ip("address", "flush", "dev", "eth0")
    with guest.entered():
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        client.bind(("", 68))
        client.settimeout(SECONDS)
    with client:
        client.sendto(_dhcp_question(guest, DHCP_DISCOVER), ("255.255.255.255", 67))
        return _dhcp_answer(client)


def renew(guest: Guest, server: object) -> tuple[str, dict[int, bytes]]:
    """Ask the server that gave the address to prolong it, as a guest does in the middle of its lease."""
    with guest.udp(68) as client:
        client.connect((str(server), 67))
        client.send(_dhcp_question(guest, DHCP_REQUEST, own=guest.port.address))
        return _dhcp_answer(client)


def _dhcp_question(guest: Guest, options: bytes, *, own: object = NOBODY) -> bytes:
    flags = 0x8000 if options == DHCP_DISCOVER else 0
    fixed = struct.pack("!BBBBIHH", 1, 1, 6, 0, 0x1234, 0, flags) + socket.inet_aton(str(own)) + bytes(12)
    return fixed + mac_bytes(guest.port.mac) + bytes(10 + 64 + 128) + options


def _dhcp_answer(client: socket.socket) -> tuple[str, dict[int, bytes]]:
    reply = client.recv(2048)
    options, rest = {}, reply[240:].lstrip(b"\0")
    while rest and rest[0] != DHCP_END:
        options[rest[0]], rest = rest[2 : 2 + rest[1]], rest[2 + rest[1] :].lstrip(b"\0")
    return socket.inet_ntoa(reply[16:20]), options


def dns_query(name: str, kind: socket.AddressFamily = socket.AF_INET) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return (
        struct.pack("!HHHHHH", 7, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", RECORDS[kind], 1)
    )


def resolve(
    guest: Namespace, name: str, resolver: object, *, kind: socket.AddressFamily = socket.AF_INET
) -> str:
    """Ask a resolver for a name's address, and once more if that is lost; "refused" when nobody is there."""
    with guest.udp() as client:
        client.connect((str(resolver), 53))
        client.send(dns_query(name, kind))
        with suppress(TimeoutError):
            return answered_address(client, kind)
        client.send(dns_query(name, kind))
        return answered_address(client, kind)


def answered_address(client: socket.socket, kind: socket.AddressFamily) -> str:
    """The address in an answer that has one."""
    try:
        length = 4 if kind == socket.AF_INET else 16
        return socket.inet_ntop(kind, client.recv(512)[-length:])
    except ConnectionRefusedError:
        return "refused"


def wait_until_in_force(fabric: Fabric) -> None:
    """Return when no packet meets what was in force before, not even in the cache of OVS."""
    assert fabric.settled()
    run("ovs-appctl", "revalidator/wait")


def wait_for_port(port: PortSpec) -> None:
    """Return when OVN has plugged in a port."""
    run("ovn-nbctl", "--timeout=60", "wait-until", "Logical_Switch_Port", port.id, "up=true")


def wait_for_neighbour(router_port: str, address: object) -> None:
    """Return when a router has learned the MAC of an address."""
    known = ("ovn-sbctl", "--bare", "--columns=mac", "find", "MAC_Binding", f"logical_port={router_port}")
    eventually(lambda: run(*known, f'ip="{address}"').strip())
