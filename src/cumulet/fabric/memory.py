"""A fabric that exists only in this process: what tests, demos and load runs use in the place of OVN.

It obeys the same contract tests as the real one, refuses what that refuses, and costs microseconds. Beyond the
Protocol it has levers: it falls silent, a call fails before or after its effect, and somebody else breaks things.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar
from uuid import UUID

from cumulet.fabric import (
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

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class _Fault:
    """A failure that waits for its call."""

    call: int
    error: BaseException
    after: bool


def _verb(body: Callable[Concatenate[MemoryFabric, P], R]) -> Callable[Concatenate[MemoryFabric, P], R]:
    """Count the call and let it fail where a lever says so."""

    @wraps(body)
    def counted(self: MemoryFabric, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with self._lock:
            fault = self._count_call()
            if fault and not fault.after:
                raise fault.error
            result = body(self, *args, **kwargs)
            if fault:
                raise fault.error
            return result

    return counted


class MemoryFabric:
    """Networks in memory: dictionaries under a lock."""

    def __init__(self) -> None:
        self.unreachable = False
        """Lever: every verb raises FabricUnreachable."""
        self.call_count = 0
        """Verbs called so far."""
        self._externals: dict[str, ExternalSpec] = {}
        self._routers: dict[UUID, RouterSpec] = {}
        self._networks: dict[UUID, NetworkSpec] = {}
        self._ports: dict[UUID, PortSpec] = {}
        self._groups: dict[UUID, GroupSpec] = {}
        self._lock = threading.RLock()
        self._fault: _Fault | None = None

    # Levers
    def crash_on_call(self, n: int, error: BaseException, *, after: bool) -> None:
        """Raise `error` at the n-th verb call from now (1 is the next), before or after that call's effect."""
        with self._lock:
            self._fault = _Fault(self.call_count + n, error, after)

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
    @_verb
    def ping(self) -> None:
        """Return when the fabric answers."""

    @_verb
    def put_external(self, spec: ExternalSpec) -> None:
        """Make the way out of a data center."""
        self._externals[spec.bridge] = spec

    @_verb
    def put_router(self, spec: RouterSpec) -> None:
        """Make or correct a router; FabricError when its way out is not there."""
        if spec.external.bridge not in self._externals:
            raise FabricError(f"router {spec.id}: there is no external switch for {spec.external.bridge!r}")
        self._routers[spec.id] = spec

    @_verb
    def remove_router(self, router_id: UUID) -> None:
        """Remove a router; its networks lose their leg of it, and their ports their external address."""
        self._routers.pop(router_id, None)
        for network in [each for each in self._networks.values() if each.router_id == router_id]:
            self.break_network(network.id)
            for port in self._ports_in(network.id):
                if port.external_address:
                    self.break_port(port.id)

    @_verb
    def routers(self) -> Mapping[UUID, RouterSpec]:
        """All routers."""
        return dict(self._routers)

    @_verb
    def put_network(self, spec: NetworkSpec) -> None:
        """Make or correct a network; FabricError when its router is not there."""
        if spec.router_id not in self._routers:
            raise FabricError(f"network {spec.id}: there is no router {spec.router_id}")
        self._networks[spec.id] = spec

    @_verb
    def remove_network(self, network_id: UUID) -> None:
        """Remove a network and whatever is left in it."""
        self._networks.pop(network_id, None)
        for port in self._ports_in(network_id):
            del self._ports[port.id]

    @_verb
    def networks(self) -> Mapping[UUID, NetworkSpec]:
        """All networks."""
        return dict(self._networks)

    @_verb
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

    @_verb
    def remove_port(self, port_id: UUID) -> None:
        """Remove a port."""
        self._ports.pop(port_id, None)

    @_verb
    def ports(self) -> Mapping[UUID, PortSpec]:
        """All ports."""
        return dict(self._ports)

    @_verb
    def put_group(self, spec: GroupSpec) -> None:
        """Make or correct a group."""
        self._groups[spec.id] = spec

    @_verb
    def remove_group(self, group_id: UUID) -> None:
        """Remove a group; ports that are in it are changed by that."""
        self._groups.pop(group_id, None)
        for port in [each for each in self._ports.values() if group_id in each.groups]:
            self._ports[port.id] = replace(port, groups=port.groups - {group_id})

    @_verb
    def groups(self) -> Mapping[UUID, GroupSpec]:
        """All groups."""
        return dict(self._groups)

    @_verb
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

    @_verb
    def settled(self) -> bool:
        """Nothing lags behind in memory."""
        return True

    def close(self) -> None:
        """There is nothing to let go of."""

    def _ports_in(self, network_id: UUID) -> list[PortSpec]:
        """The ports of a network."""
        return [port for port in self._ports.values() if port.network_id == network_id]

    def _count_call(self) -> _Fault | None:
        """Count a verb's call; returns the failure that waited for it."""
        if self.unreachable:
            raise FabricUnreachable("the fabric in memory does not answer")
        self.call_count += 1
        if self._fault is None or self._fault.call != self.call_count:
            return None
        fault, self._fault = self._fault, None
        return fault
