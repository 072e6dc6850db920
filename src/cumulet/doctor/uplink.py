"""What guests of a data center reach by way of the host: the rules of its external bridge, one nft table that is replaced whole.

        guests ─▶ external bridge ─▶ input:   the host itself      ICMP, what it serves to them, answers
                                  └▶ forward: resolvers, the world  not what is beside the host

Guests are strangers to the network that their host stands in: nobody there expects them behind its address. So what
is beside the host is closed unless its operator opens it. The other way all is open, as far as security groups let it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, collapse_addresses
from typing import Any, Final

import msgspec

from cumulet.doctor.command import output_of

LINK_LOCAL: Final = IPv4Network("169.254.0.0/16")
"""Where clouds serve their machines' metadata, secrets among them: nothing for guests of such a machine."""
WIDEST_NETWORK: Final = 8
"""Prefix length; a wider route that leads to no gateway is a VPN's way to the world."""
REFUSE: Final = "reject with icmpx admin-prohibited"


@dataclass(frozen=True, slots=True)
class Reach:
    """What guests reach of the host and beside it, besides the world."""

    resolvers: tuple[IPv4Address, ...] = ()
    """Wherever these are, guests may ask them for names."""
    networks: tuple[IPv4Network, ...] = ()
    """Networks beside the host."""
    services: tuple[str, ...] = ()
    """Of the host itself, such as `8480/tcp`."""


NOTHING: Final = Reach()


def encode_reach(reach: Reach) -> str:
    """Write it down for Open vSwitch to keep."""
    return msgspec.json.encode(reach, enc_hook=str).decode()


def decode_reach(text: str) -> Reach:
    """Read what `encode_reach` wrote."""
    return msgspec.json.decode(text, type=Reach, dec_hook=lambda kind, value: kind(value))


def table_name(bridge: str) -> str:
    """Our nft table for a bridge."""
    return f"cumulet_{bridge}"


def load_rules(bridge: str, gateway: IPv4Interface, reach: Reach, *, ours: Collection[str]) -> None:
    """Put a bridge's rules in force; `ours` are all external bridges of Cumulet on this host."""
    routes = output_of("ip", "-json", "-4", "route", "show", "table", "all", "scope", "link")
    networks = tuple(surroundings(routes, ours={*ours, bridge}))
    output_of("nft", "--file", "-", stdin=rules(bridge, gateway.network, reach, networks))


def remove_rules(bridge: str) -> None:
    """Take a bridge's rules away if they are there."""
    table = f"table inet {table_name(bridge)}"
    output_of("nft", "--file", "-", stdin=f"{table}\ndelete {table}\n")


def surroundings(routes: str, *, ours: Collection[str]) -> Iterator[IPv4Network]:
    """The networks that the host is in, by `ip -json route show table all scope link`."""
    found: list[dict[str, Any]] = msgspec.json.decode(routes)
    for route in found:
        if "type" in route or route["dst"] == "default" or route["dev"] in ours:
            continue  # broadcast addresses, ways to the world, and guests' own ranges
        network = IPv4Network(route["dst"])
        if network.prefixlen >= WIDEST_NETWORK:
            yield network


def rules(bridge: str, guests: IPv4Network, reach: Reach, beside: Iterable[IPv4Network]) -> str:
    """The nft script that replaces a bridge's table in one step."""
    table = f"table inet {table_name(bridge)}"
    names = f"ip daddr {a_set(reach.resolvers)} meta l4proto {{ tcp, udp }} th dport 53 accept"
    services = f"meta l4proto . th dport {a_set(map(protocol_and_port, reach.services))} accept"
    return f"""{table}
delete {table}
{table} {{
    chain guests {{
        meta nfproto ipv6 drop
        ip saddr != {guests} drop
        ct state established,related accept
        {names if reach.resolvers else ""}
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname != "{bridge}" accept
        jump guests
        icmp type echo-request accept
        {services if reach.services else ""}
        {REFUSE}
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname != "{bridge}" accept
        jump guests
        ip daddr {ranges(guests, *reach.networks)} accept
        ip daddr {ranges(LINK_LOCAL, *beside)} {REFUSE}
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        ip saddr {guests} oifname != "{bridge}" masquerade
    }}
}}
"""


def protocol_and_port(service: str) -> str:
    """Turn `8480/tcp` around, as nft has it."""
    port, _, protocol = service.partition("/")
    return f"{protocol} . {port}"


def ranges(*networks: IPv4Network) -> str:
    """A set of networks, some of which may lie within others, which nft would refuse."""
    return a_set(collapse_addresses(networks))


def a_set(members: Iterable[object]) -> str:
    """An anonymous set of nft's."""
    return f"{{ {', '.join(map(str, members))} }}"
