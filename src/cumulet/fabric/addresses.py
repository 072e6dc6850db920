"""Addresses of guests that follow from their NICs: the cloud shows them, the fabric lets them pass."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network


def own_address(range_: IPv6Network, mac: str) -> IPv6Address:
    """The one that a guest makes from its MAC in a /64 (RFC 4291, appendix A): the only one it may use there."""
    octets = bytearray.fromhex(mac.replace(":", ""))
    octets[0] ^= 0x02
    octets[3:3] = b"\xff\xfe"
    return range_.network_address + int.from_bytes(octets)
