"""What can be had right now: the catalogue joined with what is free, computed from the reservations themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from cumulet.catalogue import (
    Catalogue,
    FreeCapacity,
    ListVmDataCentersResponse,
    ListVmMachineTypesResponse,
    MachineType,
    VmMachineType,
    data_center_view,
    machine_type_view,
    matching_data_centers,
)
from cumulet.gpus import gpu_rooms
from cumulet.hosts import Capacity, GpuRoom, Reservation, capacities, close, cpu_model, has_labels
from cumulet.networks import free_external
from cumulet.operation import Access, operation
from cumulet.vm_record.model import Vm


@operation("GET /v1/vms/data-centers", access=Access.OPEN)
def list_vm_data_centers(
    db: Session,
    *,
    catalogue: Catalogue,
    now: datetime,
    region_id: list[str] = [],  # noqa: B006 - read from the query, never changed
    renewable_energy: bool = False,
) -> ListVmDataCentersResponse:
    """List the data centers that have VMs, with their prices and free external addresses."""
    matching = matching_data_centers(catalogue, region_ids=region_id, renewable_energy=renewable_energy)
    return ListVmDataCentersResponse(
        data_centers=[data_center_view(one, free_external(db, one, now=now)) for one in matching]
    )


@operation("GET /v1/vms/machine-types-2", access=Access.OPEN)
def list_vm_machine_types2(
    db: Session, *, catalogue: Catalogue, project_id: str = ""
) -> ListVmMachineTypesResponse:
    """List the machine types of every data center with prices, limits and what is free."""
    del project_id  # all projects see the same offers; clients of 2026 send theirs
    return ListVmMachineTypesResponse(
        machine_types=[offer(db, catalogue, one) for one in catalogue.machine_types]
    )


@operation("GET /v1/vms/machine-types", access=Access.OPEN)
def list_vm_machine_types(
    db: Session, *, catalogue: Catalogue, project_id: str = ""
) -> ListVmMachineTypesResponse:
    """List the machine types with their prices for each commitment."""
    return list_vm_machine_types2(db, catalogue=catalogue, project_id=project_id)


@operation("GET /v1/vms/data-centers/{dataCenterId}/machine_types/{machineTypeId}", access=Access.OPEN)
def get_vm_machine_type(
    db: Session, *, catalogue: Catalogue, data_center_id: str, machine_type_id: str
) -> VmMachineType:
    """Show one machine type of a data center."""
    return offer(db, catalogue, catalogue.find_machine_type(data_center_id, machine_type_id))


def weigh_vcpus(db: Session, catalogue: Catalogue) -> None:
    """Have reservations weigh vCPUs as the catalogue's machine types promise them now; those of a type that is gone stay."""
    for one in catalogue.machine_types:
        theirs = select(Vm.id).where(Vm.data_center_id == one.data_center_id, Vm.machine_type == one.id)
        weighed = update(Reservation).where(
            Reservation.holder_id.in_(theirs), Reservation.vcpus_per_core != one.vcpus_per_core
        )
        db.execute(weighed.values(vcpus_per_core=one.vcpus_per_core))


def with_cpu_model(db: Session, machine_type: MachineType) -> MachineType:
    """Name the hosts' processor where the operator's catalogue names none."""
    if machine_type.cpu_model:
        return machine_type
    model = cpu_model(db, machine_type.data_center_id, machine_type.host_labels)
    return replace(machine_type, cpu_model=model)


def capacities_for(db: Session, machine_type: MachineType, *, lock: bool = False) -> Sequence[Capacity]:
    """Compute what each host of its data center has free for a machine type; those that are not its own are closed."""
    free = capacities(db, machine_type.data_center_id, vcpus_per_cpu=machine_type.vcpus_per_core, lock=lock)
    return for_type(free, machine_type)


def for_type(free: Sequence[Capacity], machine_type: MachineType) -> Sequence[Capacity]:
    """Close those hosts that are not a machine type's own."""
    return close(
        free,
        unless=lambda host: has_labels(host.labels, machine_type.host_labels),
        why=f"not for machine type {machine_type.id!r}",
    )


def rooms_on(
    db: Session, catalogue: Catalogue, machine_type: MachineType, hosts: Sequence[Capacity]
) -> Sequence[GpuRoom]:
    """Say what those hosts have of a machine type's GPUs."""
    model = catalogue.find_gpu_model(machine_type.gpu_model_id)
    rooms = gpu_rooms(db, catalogue, machine_type.data_center_id, model)
    return [rooms[host.host_id] for host in hosts if host.host_id in rooms]


def offer(db: Session, catalogue: Catalogue, machine_type: MachineType) -> VmMachineType:
    """Join a machine type with what its data center's hosts have free."""
    free = [host for host in capacities_for(db, machine_type) if not host.closed]
    memory = [host.free_memory_mib // 1024 for host in free]
    data_center = catalogue.find_data_center(machine_type.data_center_id)
    served = {pool.id for pool in data_center.served_classes.values()}
    storage = {
        (id, host.shared_with.get(id, host.host_id)): host.free_disk_of(id) for host in free for id in served
    }
    gpus = rooms_on(db, catalogue, machine_type, free) if machine_type.gpu_model_id else []
    capacity = FreeCapacity(
        max_vcpus=max((host.free_vcpus for host in free), default=0),
        total_vcpus=sum(host.free_vcpus for host in free),
        max_memory_gib=max(memory, default=0),
        total_memory_gib=sum(memory),
        max_gpus=max((room.most for room in gpus), default=0),
        total_gpus=sum(room.free for room in gpus),
        max_storage_gib=max(storage.values(), default=0),
        total_storage_gib=sum(storage.values()),
    )
    return machine_type_view(catalogue, with_cpu_model(db, machine_type), capacity)
