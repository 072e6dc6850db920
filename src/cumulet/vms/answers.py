"""From rows to JSON: whatever VMs' answers show besides their own rows is gathered with one query, never one a VM."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, Price, Rates, price_vm, vm_price_answer
from cumulet.disks import Disk, DiskState, DiskType
from cumulet.disks import Wanted as DiskWanted
from cumulet.disks.wire import Disk as DiskAnswer
from cumulet.hosts import Host
from cumulet.hypervisor import serial_of
from cumulet.networks import Nic
from cumulet.reconcile import Due
from cumulet.vms import wire
from cumulet.vms.accepts import SHORT_STATES
from cumulet.vms.boot import stage_in_words, why_of
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


def vm_answers(db: Session, catalogue: Catalogue, vms: Sequence[Vm], *, logs: bool = True) -> list[wire.Vm]:
    """Show VMs of one project, in the order given; in a long list without their guests' logs, which nobody reads there."""
    if not vms:
        return []
    these = Vm.id == vms[0].id if len(vms) == 1 else Vm.project_id == vms[0].project_id
    around = {vm_id: Surroundings(*values) for vm_id, *values in db.execute(SURROUNDINGS.where(these))}
    cards = cards_of(db, Nic.vm_id.in_(select(Vm.id).where(these)))
    disks = _disks_by_vm(db, vms)
    return [
        _vm_answer(vm, disks[vm.id], cards[vm.id], around[vm.id], catalogue, log=vm.boot_log if logs else "")
        for vm in vms
    ]


def _disks_by_vm(db: Session, vms: Sequence[Vm]) -> Mapping[UUID, list[Disk]]:
    """Collect the disks of VMs of one project: the boot disk first, the others by name."""
    these = Disk.vm_id == vms[0].id if len(vms) == 1 else Disk.project_id == vms[0].project_id
    found = select(Disk).where(these, Disk.vm_id.is_not(None))
    disks: dict[UUID, list[Disk]] = defaultdict(list)
    for disk in db.scalars(found.order_by(Disk.type != DiskType.BOOT, Disk.name)):
        if disk.vm_id:
            disks[disk.vm_id].append(disk)
    return disks


def price_of(vm: Vm, disks: Sequence[Disk], *, ipv4_addresses: int) -> Price:
    """Price a VM with its disks and addresses at the rates it was created with."""
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
        storage_gib=sum(disk.size_gib for disk in disks),
        ipv4_addresses=ipv4_addresses,
    )


def _vm_answer(
    vm: Vm, disks: Sequence[Disk], cards: Cards, around: Surroundings, catalogue: Catalogue, *, log: str
) -> wire.Vm:
    boot_disk, *storage_disks = (disk_answer(disk, vm) for disk in disks)
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
        boot_disk_size_gib=boot_disk.size_gib,
        renewable_energy=data_center.renewable_energy,
        image_id=vm.image_id,
        public_image_id=boot_disk.public_image_id,
        public_image_name=vm.image_name if boot_disk.public_image_id else "",
        private_image_id=boot_disk.private_image_id,
        image_name=vm.image_name,
        create_by=vm.created_by,
        nics=cards.shown,
        rules=[rule for group in cards.groups for rule in group.rules],
        security_group_ids=[group.id for group in cards.groups],
        security_groups=cards.groups,
        short_state=SHORT_STATES[vm.state],
        boot_disk=boot_disk,
        storage_disks=storage_disks,
        metadata=vm.labels,
        state=vm.state,
        create_time=vm.create_time,
        expire_time=vm.expire_time,
        price=vm_price_answer(price_of(vm, disks, ipv4_addresses=cards.external_count)),
        ssh_key_source=vm.ssh_key_source,
        authorized_ssh_keys=vm.ssh_keys,
        project_id=vm.project_id,
        waiting_for=around.waiting_for,
        problem=around.problem,
        accelerator=around.accelerator,
        guest=_guest_report(vm, log),
    )


def _guest_report(vm: Vm, log: str) -> wire.GuestReport:
    return wire.GuestReport(
        agent_answers=vm.agent_at is not None,
        first_boot_done=vm.first_boot_at is not None,
        start_script_status=vm.start_script_status,
        stage=stage_in_words(vm.boot_stage),
        problems=vm.boot_problems.splitlines(),
        log=log,
        panic=why_of(vm.panic) if vm.panic_at else "",
    )


def disk_answer(disk: Disk, vm: Vm | None, *, waiting_for: str = "", problem: str = "") -> DiskAnswer:
    """Show a disk beside the VM that has it."""
    image_id = vm.image_id if vm and disk.type is DiskType.BOOT else ""
    return DiskAnswer(
        id=disk.name,
        project_id=disk.project_id,
        data_center_id=disk.data_center_id,
        vm_id=vm.name if vm else "",
        size_gib=disk.size_gib,
        storage_class=disk.storage_class,
        disk_type=disk.type,
        public_image_id="" if disk.private_image_id else image_id,
        private_image_id=image_id if disk.private_image_id else "",
        create_time=disk.create_time,
        disk_state=DiskState.DELETE if disk.wanted is DiskWanted.DELETED else disk.state,
        serial=serial_of(disk.id),
        waiting_for=waiting_for,
        problem=problem,
    )
