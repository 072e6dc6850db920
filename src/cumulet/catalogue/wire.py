"""The catalogue as JSON of the contract: a superset of what clients of 2024 to 2026 require."""

from __future__ import annotations

import re

from cumulet.wire import Amount, ProtoEnum, Wire


class CommitmentTerm(ProtoEnum):
    """For how long a VM is promised to be kept; longer is cheaper."""

    NONE = "COMMITMENT_TERM_NONE", 0
    MONTHS_1 = "COMMITMENT_TERM_1_MONTH", 1
    MONTHS_3 = "COMMITMENT_TERM_3_MONTHS", 2
    MONTHS_6 = "COMMITMENT_TERM_6_MONTHS", 3
    MONTHS_12 = "COMMITMENT_TERM_12_MONTHS", 4
    MONTHS_24 = "COMMITMENT_TERM_24_MONTHS", 5
    MONTHS_36 = "COMMITMENT_TERM_36_MONTHS", 6
    MONTHS_60 = "COMMITMENT_TERM_60_MONTHS", 7

    @property
    def months(self) -> int:
        """How long; 0 for no commitment."""
        number = re.search(r"\d+", str(self.value))
        return int(number[0]) if number else 0


class StorageClass(ProtoEnum):
    """What a disk is asked for by: which pool serves a class the catalogue says."""

    UNKNOWN = "STORAGE_CLASS_UNKNOWN", 0
    LOCAL = "STORAGE_CLASS_LOCAL", 1
    NETWORK = "STORAGE_CLASS_NETWORK", 2


class RouterSize(ProtoEnum):
    """Clients of 2024 know routers by size; ours have none, so one size shows."""

    UNKNOWN = "VROUTER_INSTANCE_UNKNOWN", 0
    SMALL = "VROUTER_INSTANCE_SMALL", 1
    MEDIUM = "VROUTER_INSTANCE_MEDIUM", 2
    LARGE = "VROUTER_INSTANCE_LARGE", 3


class DiskPoolPrice(Wire):
    """What a GiB of disk costs an hour."""

    storage_class: StorageClass
    disk_gib_price_hr: Amount
    snapshot_gib_price_hr: Amount


class NetworkPrice(Wire):
    """What a network costs an hour, as clients of 2024 read it."""

    size: RouterSize
    price_hr: Amount


class LatLng(Wire):
    """`google.type.LatLng`, in degrees."""

    latitude: float
    longitude: float


class VmDataCenter(Wire):
    """A data center that has VMs."""

    id: str
    region_id: str
    region_name: str
    supplier_name: str
    renewable_energy: bool
    disk_pool_pricing: list[DiskPoolPrice]
    network_pricing: list[NetworkPrice]
    network_price_hr: Amount
    ipv4_price_hr: Amount
    ipv4_free: int
    s3_endpoint: str
    object_storage_gib_price_hr: Amount
    location: LatLng


class ListVmDataCentersResponse(Wire):
    """All data centers that match."""

    data_centers: list[VmDataCenter]


class RegionDataCenter(Wire):
    """A data center of a region."""

    id: str


class Region(Wire):
    """A region, as the data centers in it name it."""

    id: str
    name: str
    data_centers: list[RegionDataCenter]


class ListRegionsResponse(Wire):
    """All regions."""

    regions: list[Region]


class VmGpuModel(Wire):
    """A GPU model."""

    id: str
    vendor_name: str
    model_name: str
    memory_gib: int


class ListVmGpuModelsResponse(Wire):
    """All GPU models."""

    gpu_models: list[VmGpuModel]


class MachineTypePrice(Wire):
    """A machine type's prices under one commitment."""

    vcpu_price_hr: Amount
    memory_gib_price_hr: Amount
    gpu_price_hr: Amount
    commitment_term: CommitmentTerm


class VmMachineType(Wire):
    """A machine type of one data center: its rules, its prices and what is free of it now."""

    data_center_id: str
    machine_type: str
    cpu_model: str
    gpu_model: str
    gpu_model_id: str
    min_vcpu_per_memory_gib: float
    max_vcpu_per_memory_gib: float
    min_vcpu_per_gpu: float
    max_vcpu_per_gpu: float
    vcpu_price_hr: Amount
    memory_gib_price_hr: Amount
    gpu_price_hr: Amount
    min_storage_gib_price_hr: Amount
    ipv4_price_hr: Amount
    renewable_energy: bool
    max_vcpu_free: int
    """`max_…`: the most that one VM can get; `total_…`: the sum over all hosts."""
    total_vcpu_free: int
    max_memory_gib_free: int
    total_memory_gib_free: int
    max_gpu_free: int
    total_gpu_free: int
    max_storage_gib_free: int
    total_storage_gib_free: int
    min_vcpu: float
    min_memory_gib: float
    prices: list[MachineTypePrice]


class ListVmMachineTypesResponse(Wire):
    """One entry per data center and machine type."""

    machine_types: list[VmMachineType]


class VmPrice(Wire):
    """What a VM costs an hour, item by item."""

    vcpu_price_hr: Amount
    total_vcpu_price_hr: Amount
    memory_gib_price_hr: Amount
    total_memory_price_hr: Amount
    gpu_price_hr: Amount
    total_gpu_price_hr: Amount
    storage_gib_price_hr: Amount
    total_storage_price_hr: Amount
    ipv4_address_price_hr: Amount
    total_price_hr: Amount
