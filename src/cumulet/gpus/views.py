"""From GPUs' rows to JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, and_, func, select

from cumulet.catalogue import Catalogue, identify_gpu
from cumulet.gpus.choice import switch_of
from cumulet.gpus.model import Gpu
from cumulet.gpus.proof import proof_view
from cumulet.gpus.wire import GpuAnswer, GpuFunction, GpuPartition, GpuProblem, GpuState
from cumulet.hosts import Host
from cumulet.hypervisor import GpuPartition as Offered
from cumulet.hypervisor import PciFunction, PciGpu
from cumulet.reconcile import Due, Kind
from cumulet.vm_record import Vm

SHOWN: Final = (
    select(
        Gpu,
        Host.name.label("host_id"),
        func.coalesce(Vm.project_id, "").label("project_id"),
        func.coalesce(Vm.name, "").label("vm_id"),
        func.coalesce(Due.why, "").label("why"),
        func.coalesce(Due.error, "").label("error"),
    )
    .join(Host, Host.id == Gpu.host_id)
    .outerjoin(Vm, Vm.id == Gpu.vm_id)
    .outerjoin(Due, and_(Due.kind == Kind.GPU, Due.id == Gpu.id))
)
SEE_TO_IT: Final = "see to the card, then have it cleaned: cumulet gpu clean"


def gpu_view(
    catalogue: Catalogue, found: Row[*tuple[Any, ...]], partitions: Mapping[UUID, Sequence[Offered]]
) -> GpuAnswer:
    """Show a GPU, and which model the catalogue takes it for; `partitions` are those of its host, if it offers some."""
    row, card = found.Gpu, found.Gpu.seen
    model = identify_gpu(catalogue, card.pci_id, card.subsystem_id)
    return GpuAnswer(
        id=f"{found.host_id}:{row.address}",
        host_id=found.host_id,
        address=row.address,
        state=row.state,
        state_time=row.since,
        project_id=found.project_id,
        vm_id=found.vm_id,
        withdrawn=row.withdrawn,
        waiting_for=(found.error or found.why) if row.state is GpuState.CLEANING else "",
        cleaned_time=row.cleaned_at,
        proved_time=row.proved_at,
        proof=proof_view(card, row.outcome) if row.outcome else None,
        problems=problems_of(row),
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
        switch=switch_of(card.bridges)[-1] if card.bridges else "",
        partitions=[
            GpuPartition(number=one.number, gpus=len(one.addresses))
            for one in partitions.get(row.host_id, ())
            if row.address in one.addresses
        ],
        bar_bytes=[str(size) for size in card.bar_bytes],
        reset_methods=list(card.reset_methods),
        boot_display=card.boot_display,
        virtual_functions=card.virtual_functions,
    )


def problems_of(row: Gpu) -> list[GpuProblem]:
    """Say what keeps a GPU from further VMs: what befell it, and what was read of it last."""
    befell = [GpuProblem(problem=row.problem, cure=SEE_TO_IT)] if row.problem else []
    return befell + [GpuProblem(problem=one.problem, cure=one.cure) for one in row.unfit_because]


def function_view(function: PciFunction) -> GpuFunction:
    """Show a function."""
    return GpuFunction(
        address=function.address, pci_id=function.pci_id, kind=function.kind, driver=function.driver
    )


def model_name(catalogue: Catalogue, card: PciGpu) -> str:
    """Call a card what the catalogue calls it, or by its ids."""
    model = identify_gpu(catalogue, card.pci_id, card.subsystem_id)
    return model.model_name if model else card.pci_id
