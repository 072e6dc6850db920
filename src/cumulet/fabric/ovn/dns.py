"""The names of a router's guests in OVN: answered on a switch where all questions that leave a network pass by.

OVN answers on any switch with names. But on such a switch it also lets every datagram from port 53 past all ACLs, as if
it were an answer of its own; so the names are not on the networks' switches, where groups keep such datagrams out, but on one
without guests. Questions are routed around by it, from one router port to another:

    guest ── network ── router ──(asks)── names ──(resolves)── router ── the world

Names that it does not know go on to the server that was asked.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Final
from uuid import UUID

from cumulet.fabric.addresses import own_address
from cumulet.fabric.ovn import names
from cumulet.fabric.ovn.lookup import network_spec, networks_joined, ports_in
from cumulet.fabric.ovn.replica import ID, Row, map_of, mark
from cumulet.fabric.ovn.rows import Draft, View

DOMAIN: Final = "internal"
"""Guests are known as `hostname` and `hostname.internal`, a domain that the Internet leaves to private use."""
RESOLVES: Final = "169.254.53.2"
"""Where questions are sent on: on the `asks` port alone, for OVN takes any port in whose range it is."""
LEGS: Final = {
    "asks": ("0a:c1:00:00:00:01", "169.254.53.1/30", "router"),
    "resolves": ("0a:c1:00:00:00:02", "169.254.53.5/30", f"0a:c1:00:00:00:02 {RESOLVES}"),
}
"""MAC and address of both ports in the names' switch, and for what it knows them; they mean nothing elsewhere."""


def declare_dns(draft: Draft, router: Row, router_id: UUID) -> None:
    """The switch, what it answers, and both ports."""
    records = draft.row("DNS", "names", records=names_of(draft.view, router))
    switch = draft.row(
        "Logical_Switch", "names", name=names.names_switch(router_id), dns_records=[records], other_config={}
    )
    for part, (mac, address, known_for) in LEGS.items():
        router_port_name = names.names_router_port(router_id, part)
        draft.row(
            "Logical_Router_Port",
            part,
            inside=[(router, "ports")],
            name=router_port_name,
            mac=mac,
            networks=[address],
            enabled=[],
        )
        draft.row(
            "Logical_Switch_Port",
            part,
            inside=[(switch, "ports")],
            name=names.names_switch_port(router_id, part),
            type="router",
            addresses=[known_for],
            options={"router-port": router_port_name},
            enabled=[],
        )


def declare_policies(draft: Draft, router_id: UUID) -> list[Row]:
    """The router's policies that send guests' questions there, once: what comes back from there goes its way."""
    question = "ip4 && udp.dst == 53"
    others = f'"{names.names_router_port(router_id, "resolves")}", "{names.external_router_port(router_id)}"'
    return [
        draft.row(
            "Logical_Router_Policy",
            "on",
            priority=101,
            match=f"inport == {{{others}}} && {question}",
            action="allow",
            nexthops=[],
            options={},
        ),
        draft.row(
            "Logical_Router_Policy",
            "round",
            priority=100,
            match=question,
            action="reroute",
            nexthops=[RESOLVES],
            options={},
        ),
    ]


def names_of(view: View, router: Row) -> dict[str, str]:
    """What DNS answers behind a router: the names and addresses of the ports in all networks that it joins."""
    addresses: dict[str, set[IPv4Address | IPv6Address]] = {}
    for network in networks_joined(view, router):
        spec = network_spec(network)
        if spec is None:
            continue
        for port in ports_in(view, network):
            for name in (port.hostname.lower(), f"{port.hostname.lower()}.{DOMAIN}"):
                known = addresses.setdefault(name, set())
                known.add(port.address)
                known.add(own_address(spec.local_range, port.mac))
    return {name: " ".join(sorted(map(str, known))) for name, known in addresses.items()}


def correct_names(view: View, router: Row) -> None:
    """Let DNS know who came and went; a router that lost its names gets them back when it is put."""
    row = view.find("DNS", mark(router, ID), "names")
    if row is None:
        return
    there, wanted = map_of(row, "records"), names_of(view, router)
    for name in there.keys() - wanted.keys():
        row.delkey("records", name)
    for name, addresses in wanted.items():
        if there.get(name) != addresses:
            row.setkey("records", name, addresses)
