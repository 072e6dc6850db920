"""A fabric that exists only in this process: what tests, demos and load runs use in the place of OVN.

It obeys the same contract tests as the real one, refuses what that refuses, and costs microseconds. Beyond the
Protocol it has levers: it falls silent, a call fails before or after its effect, and somebody else breaks things.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from cumulet.fabric import (
    Chassis,
    ExternalSpec,
    FabricError,
    FabricUnreachable,
    GroupSpec,
    NetworkSpec,
    PortSpec,
    Probe,
    RouterSpec,
    Verdict,
)
from cumulet.fabric.verdict import decide_before_rules, decide_by_rules
from cumulet.faults import Faulty, verb


class MemoryFabric(Faulty):
    """Networks in memory: dictionaries under a lock."""

    def __init__(self) -> None:
        super().__init__(lambda: FabricUnreachable("the fabric in memory does not answer"))
        self.known_chassis: tuple[Chassis, ...] = ()
        """A lever: the hosts that take part."""
        self._externals: dict[str, ExternalSpec] = {}
        self._routers: dict[UUID, RouterSpec] = {}
        self._networks: dict[UUID, NetworkSpec] = {}
        self._ports: dict[UUID, PortSpec] = {}
        self._groups: dict[UUID, GroupSpec] = {}

    # Levers
    def lead_out(self, bridge: str) -> None:
        """Let the first host that takes part have a bridge that leads out."""
        with self._lock:
            first, *others = self.known_chassis or [Chassis("memory", "memory", frozenset())]
            self.known_chassis = (replace(first, bridges=first.bridges | {bridge}), *others)

    def break_port(self, port_id: UUID) -> None:
        """Let somebody else change a port."""
        with self._lock:
            self._ports[port_id] = replace(self._ports[port_id], mac="")

    def break_network(self, network_id: UUID) -> None:
        """Let somebody else change a network."""
        with self._lock:
            self._networks[network_id] = replace(self._networks[network_id], gateway_mac="")

    def break_group(self, group_id: UUID) -> None:
        """Let somebody else change a group."""
        with self._lock:
            self._groups[group_id] = replace(self._groups[group_id], rules=())

    # Verbs
    @verb
    def ping(self) -> None:
        """Return when the fabric answers."""

    @verb
    def chassis(self) -> tuple[Chassis, ...]:
        """The hosts that take part."""
        return self.known_chassis

    @verb
    def put_external(self, spec: ExternalSpec) -> None:
        """Make the uplink of a data center."""
        self._externals[spec.bridge] = spec

    @verb
    def put_router(self, spec: RouterSpec) -> None:
        """Make or correct a router; FabricError when its uplink is not there."""
        if spec.external.bridge not in self._externals:
            raise FabricError(f"router {spec.id}: there is no external switch for {spec.external.bridge!r}")
        self._routers[spec.id] = spec

    @verb
    def remove_router(self, router_id: UUID) -> None:
        """Remove a router; its networks lose their port of it, and their ports their external address."""
        self._routers.pop(router_id, None)
        for network in [each for each in self._networks.values() if each.router_id == router_id]:
            self.break_network(network.id)
            for port in self._ports_in(network.id):
                if port.external_address:
                    self.break_port(port.id)

    @verb
    def routers(self) -> Mapping[UUID, RouterSpec]:
        """All routers."""
        return dict(self._routers)

    @verb
    def put_network(self, spec: NetworkSpec) -> None:
        """Make or correct a network; FabricError when its router is not there."""
        if spec.router_id not in self._routers:
            raise FabricError(f"network {spec.id}: there is no router {spec.router_id}")
        self._networks[spec.id] = spec

    @verb
    def remove_network(self, network_id: UUID) -> None:
        """Remove a network and whatever is left in it."""
        self._networks.pop(network_id, None)
        for port in self._ports_in(network_id):
            del self._ports[port.id]

    @verb
    def networks(self) -> Mapping[UUID, NetworkSpec]:
        """All networks."""
        return dict(self._networks)

    @verb
    def put_port(self, spec: PortSpec) -> None:
        """Make or correct a port; FabricError when its network is not there, or has no router any more."""
        if spec.network_id not in self._networks:
            raise FabricError(f"port {spec.id}: there is no network {spec.network_id}")
        router_id = self._networks[spec.network_id].router_id
        if router_id not in self._routers:
            raise FabricError(f"port {spec.id}: there is no router {router_id}")
        if missing := sorted(spec.groups - self._groups.keys()):
            raise FabricError(f"port {spec.id}: there is no group {missing[0]}")
        self._ports[spec.id] = spec

    @verb
    def remove_port(self, port_id: UUID) -> None:
        """Remove a port."""
        self._ports.pop(port_id, None)

    @verb
    def ports(self) -> Mapping[UUID, PortSpec]:
        """All ports."""
        return dict(self._ports)

    @verb
    def put_group(self, spec: GroupSpec) -> None:
        """Make or correct a group."""
        self._groups[spec.id] = spec

    @verb
    def remove_group(self, group_id: UUID) -> None:
        """Remove a group; ports that are in it are changed by that."""
        self._groups.pop(group_id, None)
        for port in [each for each in self._ports.values() if group_id in each.groups]:
            self._ports[port.id] = replace(port, groups=port.groups - {group_id})

    @verb
    def groups(self) -> Mapping[UUID, GroupSpec]:
        """All groups."""
        return dict(self._groups)

    @verb
    def trace(self, port_id: UUID, probe: Probe) -> Verdict:
        """Evaluate the rules; FabricError when the port is not there."""
        target = self._ports.get(port_id)
        if target is None or target.network_id not in self._networks:
            raise FabricError(f"port {port_id}, or its network, is not there")
        router_id = self._networks[target.network_id].router_id
        networks = {each.id: each for each in self._networks.values() if each.router_id == router_id}
        behind = {port.address: port for port in self._ports.values() if port.network_id in networks}
        sender = behind.get(probe.source)
        return decide_before_rules(target, sender, networks) or decide_by_rules(
            probe, target, sender, self._groups
        )

    @verb
    def settled(self) -> bool:
        """Nothing lags behind in memory."""
        return True

    def close(self) -> None:
        """There is nothing to let go of."""

    def _ports_in(self, network_id: UUID) -> list[PortSpec]:
        """The ports of a network."""
        return [port for port in self._ports.values() if port.network_id == network_id]
