"""Packets to be sent as they are, and which of them arrive."""

import itertools
import socket
import struct
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from tests.fabric.guests import Guest, arp, ethernet, frames_until, internet_checksum

NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17, "esp": 50, "ah": 51, "icmpv6": 58}
NOTHING = 59
"""What AH carries when it carries nothing that has a number."""
_conversations = itertools.count(20_000)


@dataclass(frozen=True)
class Packet:
    """The first of a conversation that was never before."""

    protocol: str
    """One of NUMBERS."""
    port: int = 0
    """Destination port, for AH of the TCP in it; the type for ICMP and ICMPv6."""
    source_port: int = 0
    """0 for one that nobody used yet."""


@dataclass(frozen=True)
class CloseReason:
    """Where a packet is from or for."""

    mac: str
    address: IPv4Address | IPv6Address


def end(mac: str, address: object) -> CloseReason:
    return CloseReason(mac, ip_address(str(address)))


def frame_of(packet: Packet, text: bytes, *, source: CloseReason, target: CloseReason) -> bytes:
    """A packet with a text in it."""
    conversation = packet.source_port or next(_conversations)
    addresses = source.address.packed + target.address.packed
    body = _body(packet, text, conversation, addresses)
    number = NUMBERS[packet.protocol]
    if source.address.version == 6:
        return ethernet(
            target.mac,
            source.mac,
            0x86DD,
            struct.pack("!IHBB", 6 << 28, len(body), number, 64) + addresses + body,
        )
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 0, 0, 64, number, 0)
    header = header[:10] + struct.pack("!H", internet_checksum(header + addresses)) + addresses
    return ethernet(target.mac, source.mac, 0x0800, header + body)


def _body(packet: Packet, text: bytes, conversation: int, addresses: bytes) -> bytes:
    pseudo_header = addresses + struct.pack("!II", 0, NUMBERS[packet.protocol])
    match packet.protocol:
        case "tcp":
            synchronize = (
                struct.pack("!HHIIBBHHH", conversation, packet.port, 1, 0, 5 << 4, 2, 8192, 0, 0) + text
            )
            return _with_checksum(synchronize, 16, pseudo_header)
        case "udp":
            datagram = struct.pack("!HHHH", conversation, packet.port, 8 + len(text), 0) + text
            return _with_checksum(datagram, 6, pseudo_header)
        case "icmp" | "icmpv6":
            message = struct.pack("!BBHHH", packet.port, 0, 0, conversation & 0xFFFF, 1) + text
            return _with_checksum(message, 2, pseudo_header if packet.protocol == "icmpv6" else b"")
        case "esp":
            return struct.pack("!II", conversation, 1) + text
        case "ah":
            carried = (
                _body(Packet("tcp", packet.port), text, conversation, addresses) if packet.port else text
            )
            carried_number = NUMBERS["tcp"] if packet.port else NOTHING
            return struct.pack("!BBHIII", carried_number, 2, 0, conversation, 1, 0) + carried
    raise AssertionError(packet)


def _with_checksum(body: bytes, offset: int, pseudo_header: bytes) -> bytes:
    if pseudo_header:
        pseudo_header = pseudo_header[:-8] + struct.pack("!I", len(body)) + pseudo_header[-4:]
    return body[:offset] + struct.pack("!H", internet_checksum(pseudo_header + body)) + body[offset + 2 :]


def marker_frame(text: bytes, *, sender: Guest, receiver: Guest) -> bytes:
    """What passes whatever rules there are: an answer to an ARP question, with a text behind it."""
    frame = arp(
        2,
        sender=(sender.port.mac, sender.port.address),
        target=(receiver.port.mac, receiver.port.address),
        ethernet_source=sender.port.mac,
    )
    return bytes.fromhex(receiver.port.mac.replace(":", "")) + frame[6:] + text


def neighbours(sender: Guest, receiver: Guest) -> tuple[CloseReason, CloseReason]:
    """Both ends of what guests of one network send each other."""
    return (
        end(sender.port.mac, sender.port.address),
        end(receiver.port.mac, receiver.port.address),
    )


def arriving(
    packets: Iterable[Packet],
    sender: Guest,
    receiver: Guest,
    *,
    ends: tuple[CloseReason, CloseReason] | None = None,
) -> list[Packet]:
    """Those of the packets that get from one guest to another of its network."""
    source, target = ends or neighbours(sender, receiver)
    texts = {packet: b"<packet %d>" % number for number, packet in enumerate(packets)}
    with ExitStack() as stack:
        raw, heard = stack.enter_context(sender.frames()), stack.enter_context(receiver.frames())
        for packet, text in texts.items():
            raw.send(frame_of(packet, text, source=source, target=target))
        came = b""
        for end_ in (b"<nearly the end>", b"<end>"):  # what is on its way together may arrive in any order
            raw.send(marker_frame(end_, sender=sender, receiver=receiver))
            came += b"".join(frames_until(heard, end_))
    return [packet for packet, text in texts.items() if text in came]


def send_from_host(packet: Packet, text: bytes, address: object) -> None:
    """Send a packet to an external address from the host, which is the world for guests."""
    source = ip_address("192.0.2.1")
    body = _body(
        packet,
        text,
        packet.source_port or next(_conversations),
        source.packed + ip_address(str(address)).packed,
    )
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, NUMBERS[packet.protocol]) as raw:
        raw.sendto(body, (str(address), 0))
