"""Addresses that follow from others, so that nobody has to keep them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Final

LINK_LOCAL: Final = IPv6Network("fe80::/64")


def own_address(range_: IPv6Network, mac: str) -> IPv6Address:
    """The one that a guest makes from its MAC in a /64 (RFC 4291, appendix A): the only one it may use there."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 0x02
    octets[3:3] = b"\xff\xfe"
    return range_[int.from_bytes(octets)]


def external_mac(address: IPv4Address) -> str:
    """The locally administered MAC that answers for an external address.

    When the address goes to another VM, whoever remembers the MAC still reaches the right one.
    """
    return "0a:c1:" + ":".join(f"{byte:02x}" for byte in address.packed)
