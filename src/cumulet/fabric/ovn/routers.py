"""A project's router in OVN: its port in the external range, the way to the world, and to the names of its guests.

Routers find each other's addresses in the external range by asking, and learn only what they asked for: OVN's other
ways, a flow for every pair of routers and everybody learning every announcement, are quadratic in projects.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Final
from uuid import UUID

from cumulet.fabric import ExternalSpec, FabricError, RouterSpec
from cumulet.fabric.ovn import names
from cumulet.fabric.ovn.dns import declare_dns, declare_policies
from cumulet.fabric.ovn.externals import declare_external, find_switch
from cumulet.fabric.ovn.replica import Row
from cumulet.fabric.ovn.rows import Draft, View

UNKNOWN: Final = RouterSpec(
    UUID(int=0),
    ExternalSpec("", IPv4Network("0.0.0.0/0"), IPv4Address(0), carriers=(), everywhere=False),
    IPv4Address(0),
    mac="",
)
"""In the place of a router that somebody else has changed."""


def declare_router(view: View, spec: RouterSpec) -> None:
    """Its rows and its external switch's; FabricError when that switch is not there."""
    switch = find_switch(view, spec.external)
    if switch is None:
        raise FabricError(f"router {spec.id}: there is no external switch for {spec.external.bridge!r}")
    declare_external(view, spec.external)
    draft = Draft(view, spec.id)
    router_port_name = names.external_router_port(spec.id)
    router = draft.row(
        "Logical_Router",
        "router",
        spec=spec,
        name=names.router(spec.id),
        enabled=[],
        options={"dynamic_neigh_routers": "true", "always_learn_from_arp_request": "false"},
        policies=declare_policies(draft, spec.id),
        static_routes=[
            draft.row(
                "Logical_Router_Static_Route",
                "default",
                ip_prefix="0.0.0.0/0",
                nexthop=str(spec.external.gateway),
                output_port=[router_port_name],
            )
        ],
    )
    _declare_external_port(draft, router, switch, spec)
    declare_dns(draft, router, spec.id)
    draft.finish()


def _declare_external_port(draft: Draft, router: Row, switch: Row, spec: RouterSpec) -> None:
    """The router's port in the external range, the hosts where it may be, and its plug in the external switch."""
    router_port_name = names.external_router_port(spec.id)
    draft.row(
        "Logical_Router_Port",
        "external",
        inside=[(router, "ports")],
        name=router_port_name,
        mac=spec.mac,
        networks=[f"{spec.address}/{spec.external.range.prefixlen}"],
        enabled=[],
        gateway_chassis=[
            draft.row(
                "Gateway_Chassis",
                f"chassis {chassis}",
                name=names.gateway_chassis(spec.id, chassis),
                chassis_name=chassis,
                priority=priority,
            )
            for priority, chassis in enumerate(reversed(spec.external.carriers), 1)
        ],
    )
    draft.row(
        "Logical_Switch_Port",
        "plug",
        inside=[(switch, "ports")],
        name=names.external_switch_port(spec.id),
        type="router",
        addresses=["router"],
        options={"router-port": router_port_name, "nat-addresses": "router"},
        enabled=[],
    )
