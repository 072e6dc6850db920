"""Packets by OVN: every verb is one transaction on its northbound database, and the hosts follow by themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TypeVar
from uuid import UUID

from cumulet.fabric import Chassis, ExternalSpec, GroupSpec, NetworkSpec, PortSpec, Probe, RouterSpec, Verdict
from cumulet.fabric.ovn import groups, networks, ports, routers, southbound, trace
from cumulet.fabric.ovn.connection import Northbound
from cumulet.fabric.ovn.externals import declare_external
from cumulet.fabric.ovn.rows import View
from cumulet.fabric.ovn.southbound import Way

__all__ = ["OvnFabric", "Way", "open_fabric"]

R = TypeVar("R")


def open_fabric(remote: str, *, installation: str, find_way: Callable[[], Way] | None = None) -> OvnFabric:
    """The fabric behind OVN's northbound database; connects at the first verb.

    `remote` is OVSDB's way to write it (unix:/run/ovn/ovnnb_db.sock); the southbound one, which only `trace` and
    `chassis` need, is beside it (see `Way`). Where that changes, `find_way` says where it is now, at each new connection.
    """
    return OvnFabric(Northbound(find_way or partial(Way, remote)), installation=installation)


class OvnFabric:
    """See `cumulet.fabric.Fabric`."""

    def __init__(self, northbound: Northbound, *, installation: str) -> None:
        self._northbound = northbound
        self._installation = installation

    def ping(self) -> None:
        """Have the database answer."""
        self._northbound.read(lambda _: None)

    def chassis(self) -> tuple[Chassis, ...]:
        """The hosts whose ovn-controllers ever reported, until they are taken out; a hundredth of a second."""
        return southbound.list_chassis(self._northbound.find_way())

    def put_external(self, spec: ExternalSpec) -> None:
        """Make the switch of the external range, with the host's bridge."""
        self._write(lambda view: declare_external(view, spec))

    def put_router(self, spec: RouterSpec) -> None:
        """Make a router with its port in the external range, and correct that range's switch."""
        self._write(lambda view: routers.declare_router(view, spec))

    def remove_router(self, router_id: UUID) -> None:
        """Remove a router with all its ports."""
        self._write(lambda view: view.remove_owner(router_id))

    def routers(self) -> Mapping[UUID, RouterSpec]:
        """All routers; one that others have changed, or whose external switch they have, is `routers.UNKNOWN`."""
        return self._read(
            lambda view: view.agreeing(
                "Logical_Router",
                "router",
                unknown=routers.UNKNOWN,
                declare=routers.declare_router,
            )
        )

    def put_network(self, spec: NetworkSpec) -> None:
        """Make a network with its gateway, DHCP options and outward address translation."""
        self._write(lambda view: networks.put_network(view, spec))

    def remove_network(self, network_id: UUID) -> None:
        """Remove a network with whatever is left in it."""
        self._write(lambda view: networks.remove_network(view, network_id))

    def networks(self) -> Mapping[UUID, NetworkSpec]:
        """All networks; one that others have changed is `networks.UNKNOWN`."""
        return self._read(
            lambda view: view.agreeing(
                "Logical_Switch", "network", unknown=networks.UNKNOWN, declare=networks.declare_network
            )
        )

    def put_port(self, spec: PortSpec) -> None:
        """Make a port with its name, external address and groups."""
        self._write(lambda view: ports.put_port(view, spec))

    def remove_port(self, port_id: UUID) -> None:
        """Remove a port with its name and external address."""
        self._write(lambda view: ports.remove_port(view, port_id))

    def ports(self) -> Mapping[UUID, PortSpec]:
        """All ports; one that others have changed is `ports.UNKNOWN`."""
        return self._read(
            lambda view: view.agreeing(
                "Logical_Switch_Port", "port", unknown=ports.UNKNOWN, declare=ports.declare_port
            )
        )

    def put_group(self, spec: GroupSpec) -> None:
        """Make a group; the ports in it stay in it."""
        self._write(lambda view: groups.declare_group(view, spec))

    def remove_group(self, group_id: UUID) -> None:
        """Remove a group from all ports."""
        self._write(lambda view: view.remove_owner(group_id))

    def groups(self) -> Mapping[UUID, GroupSpec]:
        """All groups; one that others have changed is `groups.UNKNOWN`."""
        return self._read(
            lambda view: view.agreeing(
                "Port_Group", "group", unknown=groups.UNKNOWN, declare=groups.declare_group
            )
        )

    def trace(self, port_id: UUID, probe: Probe) -> Verdict:
        """Ask ovn-trace, once northd has caught up; some tenths of a second."""
        self._northbound.wait_until_translated()
        question = self._read(lambda view: trace.plan_question(view, port_id, probe))
        return (
            question if isinstance(question, Verdict) else trace.answer(self._northbound.find_way(), question)
        )

    def settled(self) -> bool:
        """Whether every host has put in force what was written before."""
        return self._northbound.wait_until_in_force()

    def close(self) -> None:
        """End the connection; a later verb opens it again."""
        self._northbound.close()

    def _read(self, look: Callable[[View], R]) -> R:
        """Look at this installation's rows."""
        return self._northbound.read(lambda contents: look(View(contents, self._installation)))

    def _write(self, work: Callable[[View], None]) -> None:
        """Change this installation's rows in one transaction."""
        self._northbound.write(lambda contents, txn: work(View(contents, self._installation, txn)))
