"""From rows to JSON: whatever VMs' answers show besides their own rows is gathered with one query, never one a VM."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, Price, Rates, price_vm, vm_price_answer
from cumulet.hosts import Host
from cumulet.networks import Nic
from cumulet.reconcile import Due
from cumulet.vms import wire
from cumulet.vms.accepts import SHORT_STATES
from cumulet.vms.cards import Cards, cards_of
from cumulet.vms.model import Vm


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a VM's answer needs besides its own row and its cards."""

    waiting_for: str
    problem: str
    cpu_model: str
    accelerator: str


COLUMNS: Final = (Due.why, Due.error, Host.cpu_model, Host.accelerator)
"""In the order of `Surroundings`."""
SURROUNDINGS: Final = (
    select(Vm.id, *(func.coalesce(column, "") for column in COLUMNS))
    .join(Host, Host.id == Vm.host_id)
    .outerjoin(Due, and_(Due.kind == "vm", Due.id == Vm.id))
)


def vm_answers(db: Session, catalogue: Catalogue, vms: Sequence[Vm]) -> list[wire.Vm]:
    """Show VMs of one project, in the order given."""
    if not vms:
        return []
    these = Vm.id == vms[0].id if len(vms) == 1 else Vm.project_id == vms[0].project_id
    around = {vm_id: Surroundings(*values) for vm_id, *values in db.execute(SURROUNDINGS.where(these))}
    cards = cards_of(db, Nic.vm_id.in_(select(Vm.id).where(these)))
    return [_vm_answer(vm, around[vm.id], cards[vm.id], catalogue) for vm in vms]


def price_of(vm: Vm, ipv4_addresses: int) -> Price:
    """Price a VM at the rates it was created with."""
    rates = Rates(
        vcpu=vm.vcpu_price,
        memory_gib=vm.memory_price,
        gpu=vm.gpu_price,
        storage_gib=vm.storage_price,
        ipv4=vm.ipv4_price,
    )
    return price_vm(
        rates,
        vcpus=vm.vcpus,
        memory_gib=vm.memory_gib,
        gpus=0,
        storage_gib=vm.boot_disk_gib,
        ipv4_addresses=ipv4_addresses,
    )


def _vm_answer(vm: Vm, around: Surroundings, cards: Cards, catalogue: Catalogue) -> wire.Vm:
    data_center = catalogue.find_data_center(vm.data_center_id)
    return wire.Vm(
        datacenter_id=vm.data_center_id,
        machine_type=vm.machine_type,
        region_id=data_center.region_id,
        region_name=data_center.region_name,
        id=vm.name,
        external_ip_address=cards.external_address,
        internal_ip_address=cards.internal_address,
        public_ip_address=cards.external_address,
        memory=vm.memory_gib,
        cpu_model=around.cpu_model,
        vcpus=vm.vcpus,
        boot_disk_size_gib=vm.boot_disk_gib,
        renewable_energy=data_center.renewable_energy,
        image_id=vm.image_id,
        public_image_id=vm.image_id,
        public_image_name=vm.image_name,
        image_name=vm.image_name,
        create_by=vm.created_by,
        nics=cards.shown,
        rules=[rule for group in cards.groups for rule in group.rules],
        security_group_ids=[group.id for group in cards.groups],
        security_groups=cards.groups,
        short_state=SHORT_STATES[vm.state],
        boot_disk=_boot_disk(vm),
        metadata=vm.labels,
        state=vm.state,
        create_time=vm.create_time,
        expire_time=vm.expire_time,
        price=vm_price_answer(price_of(vm, cards.external_count)),
        ssh_key_source=vm.ssh_key_source,
        authorized_ssh_keys=vm.ssh_keys,
        project_id=vm.project_id,
        waiting_for=around.waiting_for,
        problem=around.problem,
        accelerator=around.accelerator,
        guest=wire.GuestReport(
            agent_answers=vm.agent_at is not None,
            first_boot_done=vm.first_boot_at is not None,
            start_script_status=vm.start_script_status,
        ),
    )


def _boot_disk(vm: Vm) -> wire.Disk:
    return wire.Disk(
        id=vm.boot_disk_name,
        project_id=vm.project_id,
        data_center_id=vm.data_center_id,
        vm_id=vm.name,
        size_gib=vm.boot_disk_gib,
        storage_class=vm.storage_class,
        disk_type=wire.DiskType.BOOT,
        public_image_id=vm.image_id,
        create_time=vm.create_time,
        disk_state=wire.DiskState.USED,
    )
