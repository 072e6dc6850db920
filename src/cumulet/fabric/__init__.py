"""The boundary to what moves packets: networks, routers, ports and external addresses of one data center.

Two things obey it: `ovn` for real packets and `memory` for tests, demos and load. It is level-triggered: a `put_*`
makes the fabric hold exactly the given spec, whatever was there under that id; a `remove_*` succeeds when nothing is
there. The listings answer what is really there as specs, so that a sweep finds a difference by comparing.
Everything carries the installation's id: two installations on one OVN never touch each other's things.

A fabric that does not answer raises `FabricUnreachable`; anything else that fails raises `FabricError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Protocol
from uuid import UUID

from cumulet.errors import Unavailable


class FabricError(Exception):
    """The fabric refused or failed to do what was asked."""


class FabricUnreachable(FabricError, Unavailable):
    """The fabric's database does not answer now."""


@dataclass(frozen=True, slots=True)
class ExternalSpec:
    """A data center's way out: a bridge of the host with the range that external addresses come from."""

    bridge: str
    """The bridge mapping's name, which is the bridge's own; at most 15 characters."""
    range: IPv4Network
    gateway: IPv4Address
    """The host's own address in the range: where guests' packets leave for the world."""


@dataclass(frozen=True, slots=True)
class RouterSpec:
    """A project's router in a data center: joins its networks, and them to the world."""

    id: UUID
    external: ExternalSpec
    address: IPv4Address
    """Of the external range: what the world sees when a guest without an external address of its own calls."""
    mac: str


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A private network of a project: guests get addresses by DHCP and each other's names by DNS."""

    id: UUID
    router_id: UUID
    range: IPv4Network
    gateway: IPv4Address
    gateway_mac: str
    resolvers: tuple[IPv4Address, ...]
    """DNS servers handed to guests; names of the project's VMs are answered on the way to them."""
    mtu: int


@dataclass(frozen=True, slots=True)
class PortSpec:
    """One NIC's place in a network. Only this MAC with this address passes."""

    id: UUID
    """Also the interface id in the VM's machine."""
    network_id: UUID
    mac: str
    address: IPv4Address
    hostname: str
    """The name that DNS of the project's networks answers with `address`."""
    external_address: IPv4Address | None
    """Of the external range: 1:1 NAT both ways. None for none."""


class Fabric(Protocol):
    """All verbs are idempotent, blocking and callable from several threads; each is one transaction."""

    def ping(self) -> None:
        """Return when the fabric's database answers; FabricUnreachable otherwise."""

    def put_external(self, spec: ExternalSpec) -> None:
        """Make the external switch of a data center."""

    def put_router(self, spec: RouterSpec) -> None:
        """Make or correct a router; its external switch must be there."""

    def remove_router(self, router_id: UUID) -> None:
        """Remove a router, if it is there; networks that hung on it are listed as changed until they are put again."""

    def routers(self) -> Mapping[UUID, RouterSpec]:
        """All our routers as they are; one that was changed by others differs from what was put."""

    def put_network(self, spec: NetworkSpec) -> None:
        """Make or correct a network and its leg of the router, which must be there."""

    def remove_network(self, network_id: UUID) -> None:
        """Remove a network with its leg of the router and the ports left in it, if it is there."""

    def networks(self) -> Mapping[UUID, NetworkSpec]:
        """All our networks as they are."""

    def put_port(self, spec: PortSpec) -> None:
        """Make or correct a port with its address, DNS name and external address; its network must be there."""

    def remove_port(self, port_id: UUID) -> None:
        """Remove a port with its DNS name and external address, if it is there."""

    def ports(self) -> Mapping[UUID, PortSpec]:
        """All our ports as they are."""

    def settled(self) -> bool:
        """Whether all hosts have put in force what was written so far (waits a second or two at the most)."""

    def close(self) -> None:
        """Let go of the database."""
