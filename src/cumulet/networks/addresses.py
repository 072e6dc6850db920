"""Which address or MAC is next: pure."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network
from socket import inet_aton
from typing import Final
from uuid import UUID

RESERVED_FIRST: Final = 2
"""The network's own address and the first one, which is the gateway's."""


def pick_address(range_: IPv4Network, taken: Collection[str]) -> IPv4Address | None:
    """Choose a free address: the one after the highest taken, then the lowest gap; None when the range is full.

    Going up first leaves an address alone for a while after it was given back, so that nobody's forgotten
    connection meets a stranger. Numbers, because thousands may be taken and each VM waits for this.
    """
    first, last = int(range_[RESERVED_FIRST]), int(range_[-2])
    numbers = {int.from_bytes(inet_aton(address)) for address in taken}
    highest = max((number for number in numbers if first <= number <= last), default=first - 1)
    if highest < last:
        return IPv4Address(highest + 1)
    gap = next((number for number in range(first, last + 1) if number not in numbers), None)
    return None if gap is None else IPv4Address(gap)


def capacity(range_: IPv4Network) -> int:
    """How many addresses of a range can be given out."""
    return max(range_.num_addresses - RESERVED_FIRST - 1, 0)


def mac_of(id: UUID) -> str:
    """Derive a locally administered unicast MAC from an id: the same id always has the same one."""
    return ":".join(f"{byte:02x}" for byte in (0x02, *id.bytes[-5:]))
