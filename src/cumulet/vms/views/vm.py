"""From what is read of VMs to JSON."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, PricedDisk, Rates, VmPrice, price_vm, vm_price_view
from cumulet.db import names_there
from cumulet.disks import DiskRow, disk_view
from cumulet.errors import NotFound
from cumulet.vm_record.accepts import SHORT_STATES
from cumulet.vm_record.model import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import wire
from cumulet.vms.boot import stage_in_words, waits_for, why_of
from cumulet.vms.views.nics import VmNics, nics_by_vm
from cumulet.vms.views.queries import ONE, Selection, VmRow


def vm_view(db: Session, catalogue: Catalogue, *, project_id: str, id: str) -> wire.Vm:
    """Show one VM of a project; NotFound."""
    answers = vm_views(db, catalogue, ONE, project_id=project_id, name=id)
    if not answers:
        raise NotFound.named("VM", id, names_there(db, Vm.name, Vm.project_id == project_id))
    return answers[0]


def vm_views(db: Session, catalogue: Catalogue, these: Selection, **values: str) -> list[wire.Vm]:
    """Show the VMs that a selection means with these values."""
    vms = these.read_vms(db, **values)
    if not vms:
        return []
    nics = nics_by_vm(db, these, **values)
    disks: dict[str, list[DiskRow]] = defaultdict(list)
    for disk in these.read_disks(db, **values):
        disks[disk.vm_name].append(disk)
    return [_vm_view(vm, disks[vm.name], nics[vm.name], catalogue) for vm in vms]


def _price_view(vm: VmRow, disks: Sequence[DiskRow], *, ipv4_addresses: int) -> VmPrice:
    """Price a VM with its disks and addresses, each at the rates it was created with."""
    rates = Rates(
        vcpu=vm.vcpu_price,
        memory_gib=vm.memory_price,
        gpu=vm.gpu_price,
        ipv4=vm.ipv4_price,
    )
    priced = tuple(PricedDisk(disk.size_gib, disk.gib_price) for disk in disks)
    return _price_at(rates, vm.vcpus, vm.memory_gib, vm.gpus, priced, ipv4_addresses)


@lru_cache(maxsize=1000)
def _price_at(
    rates: Rates, vcpus: int, memory_gib: int, gpus: int, disks: tuple[PricedDisk, ...], ipv4_addresses: int
) -> VmPrice:
    """Price VMs of one shape: a long list has few."""
    price = price_vm(
        rates,
        vcpus=vcpus,
        memory_gib=memory_gib,
        gpus=gpus,
        disks=disks,
        ipv4_addresses=ipv4_addresses,
    )
    return vm_price_view(price)


def _vm_view(vm: VmRow, disks: Sequence[DiskRow], nics: VmNics, catalogue: Catalogue) -> wire.Vm:
    boot_disk, *storage_disks = (disk_view(disk, vm_name=vm.name, vm_image_id=vm.image_id) for disk in disks)
    data_center = catalogue.find_data_center(vm.data_center_id)
    return wire.Vm(
        datacenter_id=vm.data_center_id,
        machine_type=vm.machine_type,
        region_id=data_center.region_id,
        region_name=data_center.region_name,
        id=vm.name,
        external_ip_address=nics.external_address,
        internal_ip_address=nics.internal_address,
        public_ip_address=nics.external_address,
        memory=vm.memory_gib,
        cpu_model=vm.cpu_model,
        vcpus=vm.vcpus,
        gpu_model=catalogue.find_gpu_model(vm.gpu_model_id).model_name if vm.gpu_model_id else "",
        gpu_model_id=vm.gpu_model_id,
        gpu_quantity=vm.gpus,
        boot_disk_size_gib=boot_disk.size_gib,
        renewable_energy=data_center.renewable_energy,
        image_id=vm.image_id,
        public_image_id=boot_disk.public_image_id,
        public_image_name=vm.image_name if boot_disk.public_image_id else "",
        private_image_id=boot_disk.private_image_id,
        image_name=vm.image_name,
        create_by=vm.created_by,
        nics=nics.listed,
        rules=[rule for group in nics.groups for rule in group.rules],
        security_group_ids=[group.id for group in nics.groups],
        security_groups=nics.groups,
        short_state=SHORT_STATES[vm.state],
        boot_disk=boot_disk,
        storage_disks=storage_disks,
        metadata=vm.labels,
        state=vm.state,
        create_time=vm.create_time,
        expire_time=vm.expire_time,
        deletion_protection=vm.deletion_protection,
        commitment_term=vm.commitment_term,
        commitment_end_time=vm.commitment_end_time,
        price=_price_view(vm, disks, ipv4_addresses=nics.external_count),
        ssh_key_source=vm.ssh_key_source,
        authorized_ssh_keys=vm.ssh_keys,
        project_id=vm.project_id,
        waiting_for=vm.waiting_for or waits_for(vm.boot_stage, runs=vm.state is VmState.ACTIVE),
        problem=vm.problem,
        queue_deadline=vm.waits_until,
        accelerator=vm.accelerator,
        guest=_guest_report(vm),
    )


def _guest_report(vm: VmRow) -> wire.GuestReport:
    return wire.GuestReport(
        agent_answers=vm.agent_answers,
        first_boot_done=vm.first_boot_done,
        start_script_status=vm.start_script_status,
        stage=stage_in_words(vm.boot_stage),
        problems=vm.boot_problems.splitlines(),
        log=vm.boot_log,
        panic=why_of(vm.panic),
    )
