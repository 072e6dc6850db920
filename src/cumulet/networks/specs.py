"""Rows as the fabric's specs: what it is asked for, and what it is compared with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, select
from sqlalchemy.orm import Session

from cumulet.catalogue import DataCenter
from cumulet.fabric import ExternalSpec, NetworkSpec, PortSpec, RouterSpec
from cumulet.networks.model import ExternalAddress, Network, NetworkWanted, Nic, NicGroup, Router

MTU: Final = 1442
"""What a guest may send so that a tunnel between hosts fits in 1500 bytes (58 of Geneve over IPv4)."""


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
        joined=network.wanted is NetworkWanted.ACTIVE,
    )


def port_specs(db: Session, *which: ColumnElement[bool]) -> Sequence[tuple[UUID, PortSpec]]:
    """Describe cards to the fabric, each with its VM's id; in the order of VMs and of each VM's cards."""
    cards = select(
        Nic.vm_id,
        Nic.id,
        Nic.network_id,
        Nic.mac,
        Nic.address,
        Nic.hostname,
        Nic.leads_out,
        ExternalAddress.address.label("external"),
    )
    cards = cards.outerjoin(ExternalAddress, ExternalAddress.holder_id == Nic.id).where(*which)
    found = db.execute(cards.order_by(Nic.vm_id, Nic.position)).all()
    groups: dict[UUID, set[UUID]] = {}
    attached = select(NicGroup.nic_id, NicGroup.group_id).join(Nic, Nic.id == NicGroup.nic_id).where(*which)
    for nic_id, group_id in db.execute(attached):
        groups.setdefault(nic_id, set()).add(group_id)
    return [(card.vm_id, _port_spec(card, groups.get(card.id, ()))) for card in found]


def _port_spec(card: Row[*tuple[Any, ...]], group_ids: Iterable[UUID]) -> PortSpec:
    return PortSpec(
        id=card.id,
        network_id=card.network_id,
        mac=card.mac,
        address=IPv4Address(card.address),
        hostname=card.hostname,
        external_address=IPv4Address(card.external) if card.external else None,
        leads_out=card.leads_out,
        groups=frozenset(group_ids),
    )
