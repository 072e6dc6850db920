"""Which address or MAC is next: pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from ipaddress import IPv4Address, IPv4Network
from typing import Final
from uuid import UUID

RESERVED_FIRST: Final = 2
"""The network's own address and the first one, which is the gateway's."""


def pick_address(range_: IPv4Network, taken: AbstractSet[IPv4Address]) -> IPv4Address | None:
    """Choose a free address: the one after the highest taken, then the lowest gap; None when the range is full.

    Going up first leaves an address alone for a while after it was given back, so that nobody's forgotten
    connection meets a stranger.
    """
    first, last = range_[RESERVED_FIRST], range_[-2]
    highest = max(
        (address for address in taken if first <= address <= last), default=range_[RESERVED_FIRST - 1]
    )
    if highest < last:
        return highest + 1
    candidates = (range_[offset] for offset in range(RESERVED_FIRST, range_.num_addresses - 1))
    return next((address for address in candidates if address not in taken), None)


def capacity(range_: IPv4Network) -> int:
    """How many addresses of a range can be given out."""
    return max(range_.num_addresses - RESERVED_FIRST - 1, 0)


def mac_of(id: UUID) -> str:
    """Derive a locally administered unicast MAC from an id: the same id always has the same one."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *id.bytes[-5:]))
