"""Addresses that follow from others, so that nobody has to keep them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Network
from typing import Final

LINK_LOCAL: Final = IPv6Network("fe80::/64")


def external_mac(address: IPv4Address) -> str:
    """The locally administered MAC that answers for an external address.

    When the address goes to another VM, whoever remembers the MAC still reaches the right one.
    """
    return "0a:c1:" + ":".join(f"{byte:02x}" for byte in address.packed)
