"""From rows to JSON: everything a list of VMs shows is gathered with one query a table, never one a VM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from cumulet.catalogue import Catalogue, Price, Rates, price_vm, vm_price_answer
from cumulet.hosts import Host
from cumulet.networks import ExternalAddress, Nic
from cumulet.reconcile import Due
from cumulet.vms import wire
from cumulet.vms.accepts import SHORT_STATES
from cumulet.vms.model import Vm


@dataclass(frozen=True, slots=True)
class Context:
    """What VMs' answers need besides their own rows, by VM or host."""

    addresses: Mapping[UUID, str]
    externals: Mapping[UUID, str]
    dues: Mapping[UUID, Due]
    hosts: Mapping[UUID, Host]


def vm_answers(db: Session, catalogue: Catalogue, vms: Sequence[Vm]) -> list[wire.Vm]:
    """Show VMs, in the order given."""
    context = _context(db, [vm.id for vm in vms])
    return [_vm_answer(vm, context, catalogue) for vm in vms]


def price_of(vm: Vm) -> Price:
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
        ipv4_addresses=1,
    )


def _context(db: Session, vm_ids: Sequence[UUID]) -> Context:
    one_vm = vm_ids[0] if len(vm_ids) == 1 else None
    nics = select(Nic.vm_id, Nic.address, ExternalAddress.address).outerjoin(
        ExternalAddress, ExternalAddress.holder_id == Nic.id
    )
    dues = select(Due).where(Due.kind == "vm")
    if one_vm is not None:
        nics, dues = nics.where(Nic.vm_id == one_vm), dues.where(Due.id == one_vm)
    rows = db.execute(nics.where(Nic.position == 0)).all()
    return Context(
        addresses={vm_id: address for vm_id, address, _ in rows},
        externals={vm_id: external for vm_id, _, external in rows if external},
        dues={due.id: due for due in db.scalars(dues)},
        hosts={host.id: host for host in db.scalars(select(Host))},
    )


def _vm_answer(vm: Vm, context: Context, catalogue: Catalogue) -> wire.Vm:
    data_center = catalogue.find_data_center(vm.data_center_id)
    external = context.externals.get(vm.id, "")
    due = context.dues.get(vm.id)
    host = context.hosts[vm.host_id]
    return wire.Vm(
        datacenter_id=vm.data_center_id,
        machine_type=vm.machine_type,
        region_id=data_center.region_id,
        region_name=data_center.region_name,
        id=vm.name,
        external_ip_address=external,
        internal_ip_address=context.addresses.get(vm.id, ""),
        public_ip_address=external,
        memory=vm.memory_gib,
        cpu_model=host.cpu_model,
        vcpus=vm.vcpus,
        boot_disk_size_gib=vm.boot_disk_gib,
        renewable_energy=data_center.renewable_energy,
        image_id=vm.image_id,
        public_image_id=vm.image_id,
        public_image_name=vm.image_name,
        image_name=vm.image_name,
        create_by=vm.created_by,
        short_state=SHORT_STATES[vm.state],
        boot_disk=_boot_disk(vm),
        metadata=vm.labels,
        state=vm.state,
        create_time=vm.create_time,
        expire_time=vm.expire_time,
        price=vm_price_answer(price_of(vm)),
        ssh_key_source=vm.ssh_key_source,
        authorized_ssh_keys=vm.ssh_keys,
        project_id=vm.project_id,
        waiting_for=due.why if due else "",
        problem=due.error if due else "",
        accelerator=host.accelerator,
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
