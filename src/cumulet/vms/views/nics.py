"""A VM's cards as its answer shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from socket import AF_INET6, inet_ntop

from sqlalchemy.orm import Session

from cumulet.networks import local_address
from cumulet.security_groups import SecurityGroupAnswer, groups_by_nic
from cumulet.vms import wire
from cumulet.vms.views.queries import Selection, ShownCard


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

    def add(self, card: ShownCard, groups: Sequence[SecurityGroupAnswer]) -> None:
        """Take the next card in."""
        self.internal_address = self.internal_address or card.address
        self.external_address = self.external_address or card.external_address
        self.external_count += bool(card.external_address)
        self.groups.extend(group for group in groups if group not in self.groups)
        if not card.implicit:
            self.shown.append(_nic_answer(card, groups))


def cards_by_vm(db: Session, these: Selection, **values: str) -> Mapping[str, Cards]:
    """Gather the cards of VMs, by the VM's name."""
    groups = groups_by_nic(db, these.read_groups(db, **values))
    found: dict[str, Cards] = {}
    for card in these.read_cards(db, **values):
        found.setdefault(card.vm_name, Cards()).add(card, groups.get(card.id, ()))
    return found


def _nic_answer(card: ShownCard, groups: Sequence[SecurityGroupAnswer]) -> wire.Nic:
    return wire.Nic(
        network_id=card.network_name,
        external_ip_address=card.external_address,
        internal_ip_address=card.address,
        network_address=card.range.partition("/")[0],
        security_group_ids=[group.id for group in groups],
        # str() of an address takes as long as everything else about a card
        ipv6_address=inet_ntop(AF_INET6, local_address(card.network_id, card.mac).packed),
    )
