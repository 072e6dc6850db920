"""From GPUs' rows to JSON."""

from __future__ import annotations

from cumulet.catalogue import Catalogue, identify_gpu
from cumulet.gpus.model import Gpu
from cumulet.gpus.wire import GpuAnswer, GpuFunction, GpuProblem
from cumulet.hypervisor import PciFunction, PciGpu


def gpu_view(catalogue: Catalogue, row: Gpu, host_name: str) -> GpuAnswer:
    """Show a GPU, and which model the catalogue takes it for."""
    card = row.seen
    model = identify_gpu(catalogue, card.pci_id, card.subsystem_id)
    return GpuAnswer(
        id=f"{host_name}:{row.address}",
        host_id=host_name,
        address=row.address,
        state=row.state,
        state_time=row.since,
        problems=[GpuProblem(problem=one.problem, cure=one.cure) for one in row.unfit_because],
        model_id=model.id if model else "",
        model_name=model.model_name if model else "",
        vendor_name=model.vendor_name if model else "",
        memory_gib=model.memory_gib if model else 0,
        fabric=model.fabric if model else "",
        pci_id=card.pci_id,
        subsystem_id=card.subsystem_id,
        revision=card.revision,
        functions=[function_view(one) for one in card.functions],
        iommu_group=card.iommu_group,
        group_others=[function_view(one) for one in card.group_others],
        numa_node=card.numa_node,
        bridges=list(card.bridges),
        bar_bytes=[str(size) for size in card.bar_bytes],
        reset_methods=list(card.reset_methods),
        boot_display=card.boot_display,
        virtual_functions=card.virtual_functions,
    )


def function_view(function: PciFunction) -> GpuFunction:
    """Show a function."""
    return GpuFunction(
        address=function.address, pci_id=function.pci_id, kind=function.kind, driver=function.driver
    )


def model_name(catalogue: Catalogue, card: PciGpu) -> str:
    """Call a card what the catalogue calls it, or by its ids."""
    model = identify_gpu(catalogue, card.pci_id, card.subsystem_id)
    return model.model_name if model else card.pci_id
