"""Rows as the fabric's specs: what it is asked for, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, bindparam, select, type_coerce
from sqlalchemy.orm import Session
from sqlalchemy.types import NULLTYPE

from cumulet.catalogue import DataCenter
from cumulet.db import fetch_columns
from cumulet.fabric import ExternalSpec, NetworkSpec, PortSpec, RouterSpec
from cumulet.networks.model import ExternalAddress, Network, Nic, NicGroup, Router
from cumulet.resource import Wanted

RawRows = Sequence[Sequence[Row[*tuple[Any, ...]]]]
MTU: Final = 1442
"""What a guest may send so that a tunnel between hosts fits in 1500 bytes (58 of Geneve over IPv4)."""
NICS: Final = (
    select(
        Nic.vm_id,
        Nic.id,
        Nic.network_id,
        Nic.mac,
        Nic.address,
        Nic.hostname,
        Nic.leads_out,
        Nic.hosts,
        ExternalAddress.address.label("external"),
    )
    .outerjoin(ExternalAddress, ExternalAddress.holder_id == Nic.id)
    .order_by(Nic.vm_id, Nic.position)
)
GROUPS: Final = (
    select(NicGroup.nic_id, NicGroup.group_id)
    .join(Nic, Nic.id == NicGroup.nic_id)
    .order_by(NicGroup.nic_id, NicGroup.group_id)
)
OF_VM: Final = Nic.vm_id == bindparam("vm_id")
ITS_CARDS: Final = NICS.where(OF_VM)
ITS_GROUPS: Final = GROUPS.where(OF_VM)


def _raw(statement: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    """Read the same as the database's driver gives it: to compare rows, nothing need be made of it."""
    columns = [type_coerce(column, NULLTYPE) for column in statement.selected_columns]
    return statement.with_only_columns(*columns, maintain_column_froms=True)


RAW: Final = (_raw(NICS), _raw(GROUPS))


def router_spec(router: Router, address: IPv4Address, external: ExternalSpec) -> RouterSpec:
    """Describe a router to the fabric."""
    return RouterSpec(id=router.id, external=external, address=address, mac=router.mac)


def network_spec(network: Network, data_center: DataCenter) -> NetworkSpec:
    """Describe a network to the fabric."""
    return NetworkSpec(
        id=network.id,
        router_id=network.router_id,
        range=network.subnet,
        gateway=network.gateway,
        gateway_mac=network.gateway_mac,
        resolvers=data_center.resolvers or (data_center.external_gateway,),
        mtu=MTU,
        local_range=network.local_range,
        joined=network.wanted is Wanted.ACTIVE,
    )


def port_specs(db: Session) -> Sequence[tuple[UUID, PortSpec]]:
    """Describe all NICs to the fabric, each with its VM's id; in the order of VMs and of each VM's NICs."""
    return _described(fetch_columns(db, NICS), fetch_columns(db, GROUPS))


@dataclass(slots=True)
class PortSpecs:
    """All NICs as the fabric's specs, which are made anew only when a row is not as it was the last time."""

    made: tuple[RawRows, Sequence[tuple[UUID, PortSpec]]] = ((), ())
    """The rows of the last time, and what was made of them."""

    def read(self, db: Session) -> Sequence[tuple[UUID, PortSpec]]:
        """Describe all NICs likewise; `db` must see one state of things."""
        rows = [fetch_columns(db, statement) for statement in RAW]
        rows_before, specs = self.made
        if rows != rows_before:
            specs = port_specs(db)
            self.made = rows, specs
        return specs


def port_specs_of(db: Session, vm_id: UUID) -> Sequence[PortSpec]:
    """Describe a VM's NICs to the fabric, in their order."""
    nics, attached = fetch_columns(db, ITS_CARDS, vm_id=vm_id), fetch_columns(db, ITS_GROUPS, vm_id=vm_id)
    return [spec for _, spec in _described(nics, attached)]


def _described(
    nics: Iterable[Row[*tuple[Any, ...]]], attached: Iterable[Row[UUID, UUID]]
) -> Sequence[tuple[UUID, PortSpec]]:
    groups: dict[UUID, set[UUID]] = {}
    for nic_id, group_id in attached:
        groups.setdefault(nic_id, set()).add(group_id)
    return [(nic.vm_id, _port_spec(nic, groups.get(nic.id, ()))) for nic in nics]


def _port_spec(nic: Row[*tuple[Any, ...]], group_ids: Iterable[UUID]) -> PortSpec:
    return PortSpec(
        id=nic.id,
        network_id=nic.network_id,
        mac=nic.mac,
        address=IPv4Address(nic.address),
        hostname=nic.hostname,
        external_address=IPv4Address(nic.external) if nic.external else None,
        leads_out=nic.leads_out,
        groups=frozenset(group_ids),
        hosts=tuple(nic.hosts),
    )
