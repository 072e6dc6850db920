"""Giving a new VM its NICs: which networks, addresses and security groups become rows, in the create's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from sqlalchemy.orm import Session

from cumulet.catalogue import DataCenter
from cumulet.errors import Invalid
from cumulet.networks import (
    Network,
    add_nic,
    default_network,
    default_network_name,
    take_external,
    usable,
)
from cumulet.quotas import Allowance
from cumulet.resource import find, lock
from cumulet.security_groups import SecurityGroup, check_budget
from cumulet.vm_record.model import Vm
from cumulet.vms.create.plan import hostname_of
from cumulet.vms.create.request import CreateRequest
from cumulet.vms.wire import NicRequest

MOST_NICS: Final = 8


def connect(
    db: Session, request: CreateRequest, vm: Vm, data_center: DataCenter, allowance: Allowance
) -> None:
    """Give the VM the NICs it asks for with their security groups, as long as those come to little enough."""
    add_nics(db, request, vm, data_center, allowance)
    if request.data.security_group_ids or any(nic.security_group_ids for nic in request.data.nics):
        check_budget(db, vm.project_id)


def add_nics(
    db: Session, request: CreateRequest, vm: Vm, data_center: DataCenter, allowance: Allowance
) -> None:
    """Write down the NICs it asks for, or one on its project's default network with an external address."""
    requested = request.data.nics
    if not requested:
        network = default_network(db, allowance, data_center, now=request.now)
        group_ids = find_groups(db, vm, request.data.security_group_ids, "securityGroupIds")
        nic_id = add_nic(db, vm.id, network, hostname=hostname_of(vm.name), group_ids=group_ids)
        take_external(db, nic_id, data_center, project_id=request.project_id, now=request.now)
        return
    uplink = plan_uplink(requested)
    for position, nic in enumerate(requested):
        nic_id = add_nic(
            db,
            vm.id,
            find_vm_network(db, request, nic, data_center, allowance, f"nics[{position}]"),
            hostname=hostname_of(vm.name),
            position=position,
            implicit=False,
            leads_out=position == uplink,
            group_ids=find_groups(db, vm, nic.security_group_ids, f"nics[{position}].securityGroupIds"),
        )
        if nic.assign_public_ip:
            take_external(db, nic_id, data_center, project_id=request.project_id, now=request.now)


def externals_of(requested: Sequence[NicRequest]) -> list[int]:
    """Say which NICs get an external address; who asks for no NIC gets one that does."""
    if not requested:
        return [0]
    return [position for position, nic in enumerate(requested) if nic.assign_public_ip]


def plan_uplink(requested: Sequence[NicRequest]) -> int:
    """Choose the NIC that the guest's default route goes by: the one with an external address, else the first.

    Only one can have one: a guest answers by its default route, and what it sends elsewhere with that NIC's
    address is taken for a forgery.
    """
    if len(requested) > MOST_NICS:
        raise Invalid.field("nics", f"{len(requested)} NICs", f"at most {MOST_NICS}")
    public = externals_of(requested)
    if len(public) > 1:
        raise Invalid.field(
            f"nics[{public[1]}].assignPublicIp",
            value=True,
            accepted="one NIC of a VM with an external address",
        )
    return public[0] if public else 0


def find_vm_network(
    db: Session,
    request: CreateRequest,
    nic: NicRequest,
    data_center: DataCenter,
    allowance: Allowance,
    field: str,
) -> Network:
    """Find the network that a NIC is asked for on; the project's default one need not be there yet."""
    if nic.network_id in {"", default_network_name(data_center.id)}:
        return default_network(db, allowance, data_center, now=request.now)
    with Invalid.reference(f"{field}.networkId"):
        network = usable(find(db, Network, request.project_id, nic.network_id))
    if network.data_center_id != data_center.id:
        accepted = f"a network of data center {data_center.id!r}; this one is in {network.data_center_id!r}"
        raise Invalid.field(f"{field}.networkId", nic.network_id, accepted)
    return network


def find_groups(db: Session, vm: Vm, names: Sequence[str], field: str) -> list[UUID]:
    """Find the security groups that a NIC gets, each once; locked in one order for all who do so."""
    found = []
    for name in sorted(set(names)):
        with Invalid.reference(field):
            group = lock(db, find(db, SecurityGroup, vm.project_id, name))
        if group.data_center_id != vm.data_center_id:
            accepted = (
                f"a group of data center {vm.data_center_id!r}; this one is in {group.data_center_id!r}"
            )
            raise Invalid.field(field, name, accepted)
        found.append(group.id)
    return found
