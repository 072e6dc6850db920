"""Which address or MAC is next, and which ranges may be used: pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final
from uuid import UUID

from cumulet.errors import Invalid
from cumulet.fabric.addresses import own_address

PRIVATE: Final = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918."""
LONGEST_PREFIX: Final = 29
"""A smaller range has no room for a gateway and two VMs."""
RANGE_RULE: Final = f"a private range (RFC 1918) of at least a /{LONGEST_PREFIX}, such as 10.1.0.0/24"
RESERVED_FIRST: Final = 2
"""The network's own address and the first one, which is the gateway's."""


def pick_address(
    range_: IPv4Network, highest: int | None, taken: Callable[[], Collection[int]]
) -> IPv4Address | None:
    """Choose a free address: the one after the highest taken, then the lowest gap; None when the range is full.

    Going up first leaves an address alone for a while after it was given back, so that nobody's forgotten
    connection meets a stranger; and what all is `taken` need not be asked for.
    """
    first, last = int(range_[RESERVED_FIRST]), int(range_[-2])
    if highest is None or highest < last:
        return IPv4Address(first if highest is None else max(first, highest + 1))
    numbers = set(taken())
    gap = next((number for number in range(first, last + 1) if number not in numbers), None)
    return None if gap is None else IPv4Address(gap)


def capacity(range_: IPv4Network) -> int:
    """How many addresses of a range can be given out."""
    return max(range_.num_addresses - RESERVED_FIRST - 1, 0)


def mac_of(id: UUID) -> str:
    """Derive a locally administered unicast MAC from an id: the same id always has the same one."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *id.bytes[-5:]))


def local_range(network_id: UUID) -> IPv6Network:
    """Derive a network's unique local addresses from its id (RFC 4193): 56 bits that no other network has."""
    return IPv6Network((b"\xfd" + network_id.bytes[:7] + bytes(8), 64))


def local_address(network_id: UUID, mac: str) -> IPv6Address:
    """Say which unique local address a guest makes of its MAC in a network (RFC 4291, appendix A)."""
    return own_address(local_range(network_id), mac)


def plan_range(field: str, text: str, used: Mapping[IPv4Network, str]) -> IPv4Network:
    """Read a network's range; Invalid when it is none, too small, or overlaps one of those `used` for something."""
    try:
        range_ = IPv4Network(text, strict=False)
    except ValueError:
        raise Invalid.field(field, text, RANGE_RULE) from None
    if range_.prefixlen > LONGEST_PREFIX or not any(range_.subnet_of(private) for private in PRIVATE):
        raise Invalid.field(field, text, RANGE_RULE)
    if text != str(range_):
        raise Invalid.field(field, text, f"{range_}, which begins at its first address")
    for other, what in used.items():
        if range_.overlaps(other):
            raise Invalid.field(field, text, f"a range that does not overlap {other}, {what}")
    return range_
