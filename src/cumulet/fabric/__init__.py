"""The boundary to what moves packets: networks, routers, ports, their rules and external addresses of one data center.

Two things obey it: `ovn` for real packets and `memory` for tests, demos and load. It is level-triggered: a `put_*`
makes the fabric hold exactly the given spec, whatever was there under that id; a `remove_*` succeeds when nothing is
there. The listings answer what is really there as specs, so that a sweep finds a difference by comparing.
Everything carries the installation's id: two installations on one OVN never touch each other's things.

A fabric that does not answer raises `FabricUnreachable`; anything else that fails raises `FabricError`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Protocol
from uuid import UUID

from cumulet.errors import Failure, Unavailable


class FabricError(Failure):
    """The fabric refused or failed to do what was asked."""

    for_owner = "the cloud's network failed to do it, and the operator's log says why"


class FabricUnreachable(FabricError, Unavailable):
    """The fabric's database does not answer now."""

    for_owner = "the cloud's network does not answer"


@dataclass(frozen=True, slots=True)
class Chassis:
    """A host as the fabric knows it."""

    name: str
    """Its name in the fabric."""
    host: str
    """Its host name."""
    bridges: frozenset[str]
    """Its bridges that lead out."""


@dataclass(frozen=True, slots=True)
class ExternalSpec:
    """A data center's uplink: a bridge of hosts with the range that external addresses come from."""

    bridge: str
    """The bridge mapping's name, which is the bridge's own; at most 15 characters."""
    range: IPv4Network
    gateway: IPv4Address
    """Where guests' packets leave for the world, in the range: the host's own address, or a router's of its operator."""
    carriers: tuple[str, ...]
    """The chassis that carry packets between routers and the range, each in the place of those before it that are gone."""
    everywhere: bool
    """Every chassis is in the range's network itself: an external address answers from where its VM is.

    Otherwise the carrier answers for it, wherever the VM is."""


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
    local_range: IPv6Network
    """A /64 of unique local addresses, announced to guests: each makes its own from its MAC (RFC 4291, appendix A)."""
    joined: bool
    """Whether its router has its port in it. Without, guests reach each other, and neither other networks nor the world."""


class IpProtocol(enum.Enum):
    """What a rule is about."""

    ALL = "all"
    TCP = "tcp"
    UDP = "udp"
    ICMP = "icmp"
    """Of IPv4."""
    ICMPV6 = "icmpv6"
    IPSEC = "ipsec"
    """ESP, AH (of IPv4) and, for its keys and through address translation, UDP to ports 500 and 4500.

    AH in IPv6 is one more header to what it vouches for: a rule about that lets it pass.
    """


@dataclass(frozen=True, slots=True)
class RuleSpec:
    """One kind of traffic that a group lets pass; answers to what was let pass always may return."""

    id: str
    """Unlike any other of its group."""
    inbound: bool
    """To the group's ports; otherwise from them."""
    protocol: IpProtocol
    ports: tuple[tuple[int, int], ...]
    """Destination ports (TCP and UDP), each from the first to the second; () for all."""
    peer: IPv4Network | IPv6Network | None
    """Who may send it, or to whom it may go; None for everybody."""
    icmp_type: int | None
    """Of ICMP and ICMPv6; None for all."""


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """Rules for the ports that are in the group.

    A port in no group is open. One in groups gets only what a rule of one of them lets in; what it sends is free
    until one of its groups has a rule about outbound traffic, and then only what a rule lets out passes. What makes
    an address work (DHCP, ARP, IPv6's neighbour discovery) passes always.
    """

    id: UUID
    rules: tuple[RuleSpec, ...]


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
    leads_out: bool
    """DHCP gives the guest its default route here; of a VM's NICs just one does, for answers leave by one way."""
    groups: frozenset[UUID]
    """The groups whose rules hold for it; they must be there."""
    hosts: tuple[str, ...] = ()
    """The hosts (their names) where it may be plugged in; () for any.

    Of two, its packets go to both, and it speaks at the second once it is heard there: so it is while its VM moves."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A packet that somebody asks about: the first of a connection to a port's address."""

    source: IPv4Address
    """Of a port behind the same router, or else of the world outside, which knows the port by its external address."""
    protocol: IpProtocol
    """TCP, UDP or ICMP (an echo request)."""
    port: int
    """Destination port; 0 for ICMP."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a probe would arrive, and what decides it."""

    passes: bool
    group_id: UUID | None
    """The group whose rule, or lack of one, decides; None where none does."""
    rule_id: str
    """The rule that lets it pass; `""` where none does."""
    why: str
    """In words, without names: the caller knows those."""


class Fabric(Protocol):
    """All verbs are idempotent, blocking and callable from several threads; each is one transaction."""

    def ping(self) -> None:
        """Return when the fabric's database answers; FabricUnreachable otherwise."""

    def chassis(self) -> tuple[Chassis, ...]:
        """All hosts that take part, those too that do not answer now, by their names."""

    def put_external(self, spec: ExternalSpec) -> None:
        """Make the external switch of a data center."""

    def put_router(self, spec: RouterSpec) -> None:
        """Make or correct a router; its external switch must be there."""

    def remove_router(self, router_id: UUID) -> None:
        """Remove a router, if it is there; networks that hung on it are listed as changed until they are put again."""

    def routers(self) -> Mapping[UUID, RouterSpec]:
        """All our routers as they are; one that was changed by others differs from what was put."""

    def put_network(self, spec: NetworkSpec) -> None:
        """Make or correct a network and its router port, which must be there."""

    def remove_network(self, network_id: UUID) -> None:
        """Remove a network with its router port and the ports left in it, if it is there."""

    def networks(self) -> Mapping[UUID, NetworkSpec]:
        """All our networks as they are."""

    def put_port(self, spec: PortSpec) -> None:
        """Make or correct a port with its addresses, name and groups; its network and groups must be there."""

    def remove_port(self, port_id: UUID) -> None:
        """Remove a port with its DNS name and external address, if it is there."""

    def ports(self) -> Mapping[UUID, PortSpec]:
        """All our ports as they are."""

    def put_group(self, spec: GroupSpec) -> None:
        """Make or correct a group; its rules hold at once, for connections that stand as well."""

    def remove_group(self, group_id: UUID) -> None:
        """Remove a group, if it is there; ports that are in it are listed as changed until they are put again."""

    def groups(self) -> Mapping[UUID, GroupSpec]:
        """All our groups as they are."""

    def trace(self, port_id: UUID, probe: Probe) -> Verdict:
        """Say whether a probe would reach a port, by the rules in force now; FabricError when the port is not there."""

    def settled(self) -> bool:
        """Whether all hosts have put in force what was written so far (waits a second or two at the most)."""

    def close(self) -> None:
        """Let go of the database."""
