"""Networks, routers, NICs and the addresses they hold. An address is taken exactly as long as its row stands."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from cumulet.db import Row
from cumulet.due import Kind
from cumulet.events import NetworkData
from cumulet.networks.addresses import local_range
from cumulet.networks.wire import NetworkState
from cumulet.resource import Resource


def number_of_address(context: Any) -> int:  # noqa: ANN401 - of an insert
    """Give the address of a new row as a number: in that order they are given out."""
    return int(IPv4Address(context.get_current_parameters()["address"]))


class Router(Row):
    """A project's router in a data center: joins its networks, and them to the world; goes with the last of them."""

    __tablename__ = "router"
    __table_args__ = (UniqueConstraint("project_id", "data_center_id"),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    data_center_id: Mapped[str]
    mac: Mapped[str]


class Network(Resource):
    """A project's private network in a data center.

    One that is to be STOPPED has no port of its router: VMs reach each other there, and neither other networks nor the
    world.
    """

    kind = Kind.NETWORK
    called = "network"

    __tablename__ = "network"
    __table_args__ = (UniqueConstraint("project_id", "name"),)

    project_id: Mapped[str] = mapped_column(ForeignKey("project.id"))
    data_center_id: Mapped[str]
    router_id: Mapped[UUID] = mapped_column(ForeignKey("router.id"))
    range: Mapped[str]
    gateway_mac: Mapped[str]
    price: Mapped[Decimal]
    """What a network there cost an hour when it was made."""
    state: Mapped[NetworkState]
    create_time: Mapped[datetime]

    def event_data(self) -> NetworkData:
        """Describe its range and its state."""
        return NetworkData(
            name=self.name,
            data_center_id=self.data_center_id,
            range=self.range,
            price=self.price,
            state=self.state.value,
        )

    @property
    def subnet(self) -> IPv4Network:
        """The range, typed."""
        return IPv4Network(self.range)

    @property
    def gateway(self) -> IPv4Address:
        """The router's address: the first of the range."""
        return self.subnet[1]

    @property
    def local_range(self) -> IPv6Network:
        """The unique local addresses that belong to it."""
        return local_range(self.id)


class Nic(Row):
    """A VM's NIC on a network; its id is the port's on the fabric and the interface's on the host."""

    __tablename__ = "nic"
    __table_args__ = (
        UniqueConstraint("network_id", "address"),
        UniqueConstraint("mac"),
        Index("ix_nic_network_id_number", "network_id", "number"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    vm_id: Mapped[UUID] = mapped_column(index=True)
    network_id: Mapped[UUID] = mapped_column(ForeignKey("network.id"))
    position: Mapped[int]
    """Its place among the VM's NICs, from 0 on, in the order they were asked for."""
    mac: Mapped[str]
    address: Mapped[str]
    number: Mapped[int] = mapped_column(BigInteger, default=number_of_address)
    hostname: Mapped[str]
    implicit: Mapped[bool]
    """The VM has it because it asked for none: a NIC on the default network, which answers do not list."""
    leads_out: Mapped[bool]
    """The guest's default route goes here."""
    hosts: Mapped[list[str]] = mapped_column(JSON)
    """While its VM moves: the names of the hosts from which and to which; else empty."""


class NicGroup(Row):
    """A security group is attached to a NIC."""

    __tablename__ = "nic_group"

    nic_id: Mapped[UUID] = mapped_column(ForeignKey("nic.id"), primary_key=True)
    group_id: Mapped[UUID] = mapped_column(ForeignKey("security_group.id"), primary_key=True, index=True)


class ExternalAddress(Row):
    """One address of a data center's external range, held by a NIC or a router."""

    __tablename__ = "external_address"
    __table_args__ = (Index("ix_external_address_data_center_id_number", "data_center_id", "number"),)

    data_center_id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=number_of_address)
    holder_id: Mapped[UUID] = mapped_column(unique=True)
    project_id: Mapped[str | None] = mapped_column(index=True)
    """Whose quota has it: that of the VM's project; None for a router's, which nobody asks for."""


class CoolingAddress(Row):
    """An external address that was given back a moment ago: whoever still calls it must not reach a stranger."""

    __tablename__ = "cooling_address"
    __table_args__ = (Index("ix_cooling_address_data_center_id_number", "data_center_id", "number"),)

    data_center_id: Mapped[str] = mapped_column(primary_key=True)
    address: Mapped[str] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, default=number_of_address)
    until: Mapped[datetime]
