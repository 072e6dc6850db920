"""Finding the rows that stand for things, and what they say those things are."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from cumulet.fabric import NetworkSpec, PortSpec, RouterSpec
from cumulet.fabric.ovn.replica import ID, PART, SPEC, Row, mark
from cumulet.fabric.ovn.rows import View
from cumulet.fabric.ovn.specs import decode_spec


def find_router(view: View, router_id: UUID) -> Row | None:
    """A router, if it is there."""
    return view.find("Logical_Router", router_id, "router")


def find_network(view: View, network_id: UUID) -> Row | None:
    """A network's switch, if it is there."""
    return view.find("Logical_Switch", network_id, "network")


def find_port(view: View, port_id: UUID) -> Row | None:
    """A port, if it is there."""
    return view.find("Logical_Switch_Port", port_id, "port")


def find_group(view: View, group_id: UUID) -> Row | None:
    """A group's port group, if it is there."""
    return view.find("Port_Group", group_id, "group")


def network_spec(network: Row) -> NetworkSpec | None:
    """What a network is; None when somebody has changed it into something else."""
    return decode_spec(mark(network, SPEC), NetworkSpec)


def router_spec(router: Row) -> RouterSpec | None:
    """What a router is; None when somebody has changed it into something else."""
    return decode_spec(mark(router, SPEC), RouterSpec)


def router_of(view: View, network: Row) -> Row | None:
    """The router of a network, if it is there."""
    spec = network_spec(network)
    return spec and find_router(view, spec.router_id)


def ports_in(view: View, network: Row) -> Iterator[PortSpec]:
    """The ports in a network."""
    for port in list(view.held("Logical_Switch_Port", network)):
        spec = decode_spec(mark(port, SPEC), PortSpec) if mark(port, PART) == "port" else None
        if spec:
            yield spec


def networks_joined(view: View, router: Row) -> Iterator[Row]:
    """The networks that a router has a port in."""
    for port in view.held("Logical_Router_Port", router):
        network = view.find("Logical_Switch", mark(port, ID), "network")
        if network is not None:
            yield network
