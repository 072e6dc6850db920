"""What this cloud offers and what it costs."""

from cumulet.catalogue import operations  # noqa: F401 - declares them
from cumulet.catalogue.commitment import check_term, end_of
from cumulet.catalogue.file import read_catalogue
from cumulet.catalogue.gpu_models import identify_gpu
from cumulet.catalogue.made_up import with_gpus
from cumulet.catalogue.model import Catalogue, DataCenter, DiskPool, GpuModel, MachineType, Placement
from cumulet.catalogue.price import Price, PricedDisk, Rates, price_vm, rates_of, vm_price_view
from cumulet.catalogue.views import (
    FreeCapacity,
    data_center_view,
    machine_type_view,
    matching_data_centers,
)
from cumulet.catalogue.wire import (
    CommitmentTerm,
    ListVmDataCentersResponse,
    ListVmMachineTypesResponse,
    RouterSize,
    StorageClass,
    VmMachineType,
    VmPrice,
)

__all__ = [
    "Catalogue",
    "CommitmentTerm",
    "DataCenter",
    "DiskPool",
    "FreeCapacity",
    "GpuModel",
    "ListVmDataCentersResponse",
    "ListVmMachineTypesResponse",
    "MachineType",
    "Placement",
    "Price",
    "PricedDisk",
    "Rates",
    "RouterSize",
    "StorageClass",
    "VmMachineType",
    "VmPrice",
    "check_term",
    "data_center_view",
    "end_of",
    "identify_gpu",
    "machine_type_view",
    "matching_data_centers",
    "price_vm",
    "rates_of",
    "read_catalogue",
    "vm_price_view",
    "with_gpus",
]
