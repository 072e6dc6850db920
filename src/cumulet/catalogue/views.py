"""The catalogue's answers: what is offered, joined with what is free of it.

What is free is counted from reservations by those who hold them; it comes in here as a value, so that this stays pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cumulet.catalogue.commitment import offered_terms
from cumulet.catalogue.model import Catalogue, DataCenter, DiskPool, GpuModel, MachineType
from cumulet.catalogue.price import Rates, rates_of
from cumulet.catalogue.wire import (
    CommitmentTerm,
    DiskPoolPrice,
    LatLng,
    MachineTypePrice,
    NetworkPrice,
    Region,
    RegionDataCenter,
    RouterSize,
    StorageClass,
    VmDataCenter,
    VmGpuModel,
    VmMachineType,
)
from cumulet.wire import Amount


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeCapacity:
    """What is left for a machine type: on the host that has most of it, and on all hosts together."""

    max_vcpus: int
    total_vcpus: int
    max_memory_gib: int
    total_memory_gib: int
    max_gpus: int
    total_gpus: int
    max_storage_gib: int
    total_storage_gib: int


def matching_data_centers(
    catalogue: Catalogue, *, region_ids: Sequence[str] = (), renewable_energy: bool = False
) -> tuple[DataCenter, ...]:
    """Choose the data centers of these regions (none given: of all), if asked only those on renewable energy."""
    return tuple(
        one
        for one in catalogue.data_centers
        if (not region_ids or one.region_id in region_ids) and (one.renewable_energy or not renewable_energy)
    )


def data_center_view(data_center: DataCenter, ipv4_free: int) -> VmDataCenter:
    """Show a data center with the number of external addresses that are free."""
    network_price = Amount.of(data_center.network_price_hr)
    return VmDataCenter(
        id=data_center.id,
        region_id=data_center.region_id,
        region_name=data_center.region_name,
        supplier_name=data_center.supplier_name,
        renewable_energy=data_center.renewable_energy,
        disk_pool_pricing=[_pool_price(*served) for served in data_center.served_classes.items()],
        network_pricing=[NetworkPrice(size=RouterSize.SMALL, price_hr=network_price)],
        network_price_hr=network_price,
        ipv4_price_hr=Amount.of(data_center.ipv4_price_hr),
        ipv4_free=ipv4_free,
        s3_endpoint="",
        object_storage_gib_price_hr=Amount(value="0"),
        location=LatLng(latitude=data_center.latitude, longitude=data_center.longitude),
    )


def regions_view(catalogue: Catalogue) -> list[Region]:
    """Show the regions of all data centers, in the catalogue's order."""
    regions: dict[str, Region] = {}
    for one in catalogue.data_centers:
        region = Region(id=one.region_id, name=one.region_name, data_centers=[])
        regions.setdefault(one.region_id, region).data_centers.append(RegionDataCenter(id=one.id))
    return list(regions.values())


def machine_type_view(catalogue: Catalogue, machine_type: MachineType, free: FreeCapacity) -> VmMachineType:
    """Show a machine type with what is free; `max…Free` also respects the largest VM that the type allows."""
    data_center = catalogue.find_data_center(machine_type.data_center_id)
    prices = _prices(machine_type, data_center)
    return VmMachineType(
        data_center_id=data_center.id,
        machine_type=machine_type.id,
        cpu_model=machine_type.cpu_model,
        gpu_model=_gpu_model_name(catalogue, machine_type),
        gpu_model_id=machine_type.gpu_model_id,
        min_vcpu_per_memory_gib=machine_type.min_vcpu_per_memory_gib,
        max_vcpu_per_memory_gib=machine_type.max_vcpu_per_memory_gib,
        min_vcpu_per_gpu=machine_type.min_vcpu_per_gpu,
        max_vcpu_per_gpu=machine_type.max_vcpu_per_gpu,
        vcpu_price_hr=prices[0].vcpu_price_hr,
        memory_gib_price_hr=prices[0].memory_gib_price_hr,
        gpu_price_hr=prices[0].gpu_price_hr,
        min_storage_gib_price_hr=Amount.of(
            min(pool.disk_gib_price_hr for pool in data_center.served_classes.values())
        ),
        ipv4_price_hr=Amount.of(data_center.ipv4_price_hr),
        renewable_energy=data_center.renewable_energy,
        max_vcpu_free=min(free.max_vcpus, machine_type.max_vcpu),
        total_vcpu_free=free.total_vcpus,
        max_memory_gib_free=min(free.max_memory_gib, machine_type.max_memory_gib),
        total_memory_gib_free=free.total_memory_gib,
        max_gpu_free=free.max_gpus,
        total_gpu_free=free.total_gpus,
        max_storage_gib_free=free.max_storage_gib,
        total_storage_gib_free=free.total_storage_gib,
        min_vcpu=machine_type.min_vcpu,
        min_memory_gib=machine_type.min_memory_gib,
        prices=prices,
    )


def gpu_model_answer(gpu_model: GpuModel) -> VmGpuModel:
    """Show a GPU model."""
    return VmGpuModel(
        id=gpu_model.id,
        vendor_name=gpu_model.vendor_name,
        model_name=gpu_model.model_name,
        memory_gib=gpu_model.memory_gib,
    )


def _pool_price(storage_class: StorageClass, pool: DiskPool) -> DiskPoolPrice:
    return DiskPoolPrice(
        storage_class=storage_class,
        disk_gib_price_hr=Amount.of(pool.disk_gib_price_hr),
        snapshot_gib_price_hr=Amount.of(pool.snapshot_gib_price_hr),
    )


def _gpu_model_name(catalogue: Catalogue, machine_type: MachineType) -> str:
    if not machine_type.gpu_model_id:
        return ""
    return catalogue.find_gpu_model(machine_type.gpu_model_id).model_name


def _prices(machine_type: MachineType, data_center: DataCenter) -> list[MachineTypePrice]:
    """Without commitment first, then each term that has a discount."""
    terms = [CommitmentTerm.NONE, *offered_terms(machine_type)]
    return [_price_of_term(rates_of(machine_type, data_center, term), term) for term in terms]


def _price_of_term(rates: Rates, term: CommitmentTerm) -> MachineTypePrice:
    return MachineTypePrice(
        vcpu_price_hr=Amount.of(rates.vcpu),
        memory_gib_price_hr=Amount.of(rates.memory_gib),
        gpu_price_hr=Amount.of(rates.gpu),
        commitment_term=term,
    )
