"""What made-up hosts with GPUs add to a catalogue that says nothing of their model."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

from cumulet.catalogue.model import Catalogue, GpuModel
from cumulet.hypervisor import GpuFabric

MEMORY_GIB = 80
PRICE = Decimal("1.5")


def with_gpus(catalogue: Catalogue, model: str, pci_id: str, *, fabric: GpuFabric = "") -> Catalogue:
    """Offer a GPU model, and beside the first machine type one like it with such GPUs, unless the catalogue has the model.

    `pci_id` is by which the made-up cards are known, `fabric` what joins them.
    """
    if model in {one.model_name for one in catalogue.gpu_models}:
        models = (
            made_up_too(one, pci_id, fabric) if one.model_name == model else one
            for one in catalogue.gpu_models
        )
        return replace(catalogue, gpu_models=tuple(models))
    id = re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-") or "gpu"
    plain = catalogue.machine_types[0]
    gpu_type = replace(
        plain,
        id=f"{plain.id}-{id}",
        gpu_model_id=id,
        min_vcpu_per_gpu=1,
        max_vcpu_per_gpu=float(plain.max_vcpu),
        gpu_price_hr=PRICE,
    )
    gpu_model = GpuModel(
        id=id,
        vendor_name="made up",
        model_name=model,
        memory_gib=MEMORY_GIB,
        pci_ids=(pci_id,),
        fabric=fabric,
    )
    return replace(
        catalogue,
        gpu_models=(*catalogue.gpu_models, gpu_model),
        machine_types=(*catalogue.machine_types, gpu_type),
    )


def made_up_too(model: GpuModel, pci_id: str, fabric: GpuFabric) -> GpuModel:
    """Let made-up cards too be known as this model, and what joins those be what joins all."""
    return replace(model, pci_ids=(*model.pci_ids, pci_id), fabric=fabric or model.fabric)
