"""A VM's cards as its answer shows them, gathered with two queries for all VMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from cumulet.networks import ExternalAddress, Network, Nic, local_address
from cumulet.security_groups import SecurityGroupAnswer, groups_by_nic
from cumulet.vms import wire


@dataclass(slots=True)
class Cards:
    """What there is to say of a VM's cards."""

    internal_address: str = ""
    """Of the first card."""
    external_address: str = ""
    external_count: int = 0
    shown: list[wire.Nic] = field(default_factory=list)
    """The cards that were asked for."""
    groups: list[SecurityGroupAnswer] = field(default_factory=list)
    """Whatever is attached to any of them, each once."""

    def add(self, nic: Nic, network: Network, external: str, groups: Sequence[SecurityGroupAnswer]) -> None:
        """Take the next card in."""
        self.internal_address = self.internal_address or nic.address
        self.external_address = self.external_address or external
        self.external_count += bool(external)
        self.groups.extend(group for group in groups if group not in self.groups)
        if not nic.implicit:
            self.shown.append(_nic_answer(nic, network, external, groups))


def cards_of(db: Session, *which: ColumnElement[bool]) -> Mapping[UUID, Cards]:
    """Gather the cards of VMs, by VM."""
    groups = groups_by_nic(db, *which)
    cards = select(Nic, Network, ExternalAddress.address).join(Network, Network.id == Nic.network_id)
    cards = cards.outerjoin(ExternalAddress, ExternalAddress.holder_id == Nic.id).where(*which)
    found: dict[UUID, Cards] = {}
    for nic, network, external in db.execute(cards.order_by(Nic.vm_id, Nic.position)):
        found.setdefault(nic.vm_id, Cards()).add(nic, network, external or "", groups.get(nic.id, ()))
    return found


def _nic_answer(nic: Nic, network: Network, external: str, groups: Sequence[SecurityGroupAnswer]) -> wire.Nic:
    return wire.Nic(
        network_id=network.name,
        external_ip_address=external,
        internal_ip_address=nic.address,
        network_address=str(network.subnet.network_address),
        security_group_ids=[group.id for group in groups],
        ipv6_address=str(local_address(network.id, nic.mac)),
    )
