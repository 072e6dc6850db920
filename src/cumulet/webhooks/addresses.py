"""Where webhooks may go: to the world, and to none of the addresses that only this cloud's own machine reaches.

Owners name the addresses, and the server calls them: without a rule it would call for them whatever it can reach, its
own services, its neighbours' and the metadata of the machine that it runs on included.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
WORLD: Final = IPv6Network("2000::/3")
TRANSLATED: Final = (IPv6Network("2001::/32"), IPv6Network("2002::/16"))
"""Teredo and 6to4: IPv4 addresses in disguise."""


class NotAllowed(Exception):
    """A receiver is none that webhooks may go to; says why, in words for its owner."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What webhooks may reach."""

    networks: Sequence[Network]
    """That the operator allows, whatever they are."""
    is_near: Callable[[str], bool]
    """Whether an address is the server's own machine's, or beside it."""

    def resolve(self, host: str, port: int, *, in_plain: bool) -> str:
        """Turn a receiver's name into the one address that is called; NotAllowed, OSError."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OSError("no name") from None
        for _, _, _, _, where in found:
            address = plain_address(str(where[0]))
            if is_listed(address, self.networks):
                return str(address)
            if is_of_the_world(address) and not self.is_near(str(address)):
                if in_plain:
                    raise NotAllowed("events are sent to the world by https alone")
                return str(address)
        raise NotAllowed(
            "its address is this cloud's own, beside it, private or reserved; the operator's catalogue can allow it "
            "(webhook_networks)"
        )


def plain_address(text: str) -> Address:
    """Read an address without the name of a link, and IPv4 as such."""
    address = ip_address(text.partition("%")[0])
    return getattr(address, "ipv4_mapped", None) or address


def is_listed(address: Address, networks: Sequence[Network]) -> bool:
    """Whether an address is in one of these networks."""
    return any(address in network for network in networks)


def is_of_the_world(address: Address) -> bool:
    """Whether an address can be anybody's: not loopback, link-local, private, shared, multicast or reserved."""
    if isinstance(address, IPv6Address) and (address not in WORLD or is_listed(address, TRANSLATED)):
        return False
    return address.is_global and not address.is_multicast
