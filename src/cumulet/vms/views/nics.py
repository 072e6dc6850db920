"""A VM's NICs as its answer shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from socket import AF_INET6, inet_ntop

from sqlalchemy.orm import Session

from cumulet.networks import local_address
from cumulet.security_groups import SecurityGroupAnswer, groups_by_nic
from cumulet.vms import wire
from cumulet.vms.views.queries import NicRow, Selection


@dataclass(slots=True)
class VmNics:
    """What there is to say of a VM's NICs."""

    internal_address: str = ""
    """Of the first NIC."""
    external_address: str = ""
    external_count: int = 0
    listed: list[wire.Nic] = field(default_factory=list)
    """The NICs that were asked for."""
    groups: list[SecurityGroupAnswer] = field(default_factory=list)
    """Whatever is attached to any of them, each once."""

    def add(self, nic: NicRow, groups: Sequence[SecurityGroupAnswer]) -> None:
        """Take the next NIC in."""
        self.internal_address = self.internal_address or nic.address
        self.external_address = self.external_address or nic.external_address
        self.external_count += bool(nic.external_address)
        self.groups.extend(group for group in groups if group not in self.groups)
        if not nic.implicit:
            self.listed.append(_nic_view(nic, groups))


def nics_by_vm(db: Session, these: Selection, **values: str) -> Mapping[str, VmNics]:
    """Gather the NICs of VMs, by the VM's name."""
    groups = groups_by_nic(db, these.read_groups(db, **values))
    found: dict[str, VmNics] = {}
    for nic in these.read_nics(db, **values):
        found.setdefault(nic.vm_name, VmNics()).add(nic, groups.get(nic.id, ()))
    return found


def _nic_view(nic: NicRow, groups: Sequence[SecurityGroupAnswer]) -> wire.Nic:
    return wire.Nic(
        network_id=nic.network_name,
        external_ip_address=nic.external_address,
        internal_ip_address=nic.address,
        network_address=nic.range.partition("/")[0],
        security_group_ids=[group.id for group in groups],
        # str() of an address takes as long as everything else about a NIC
        ipv6_address=inet_ntop(AF_INET6, local_address(nic.network_id, nic.mac).packed),
    )
