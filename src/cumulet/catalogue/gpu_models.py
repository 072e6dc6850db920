"""Which model a card is, by its PCI ids: the operator's own models first, then those of the table that comes along."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Final

import msgspec

from cumulet.catalogue.model import Catalogue, GpuModel

TABLE: Final = "gpu_models.toml"


@cache
def shipped_models() -> tuple[GpuModel, ...]:
    """Read the table that comes along."""
    text = files("cumulet.catalogue").joinpath(TABLE).read_text(encoding="utf-8")
    return msgspec.convert(tomllib.loads(text)["gpu_models"], tuple[GpuModel, ...])


def with_shipped_models(catalogue: Catalogue) -> Catalogue:
    """Offer those of the table that machine types refer to; a model of the operator's that is in it has its PCI ids."""
    shipped = {one.id: one for one in shipped_models()}
    own = [
        replace(one, pci_ids=shipped[one.id].pci_ids) if one.id in shipped and not one.pci_ids else one
        for one in catalogue.gpu_models
    ]
    known = {one.id for one in own}
    wanted = {one.gpu_model_id for one in catalogue.machine_types} - known
    return replace(catalogue, gpu_models=(*own, *(one for id, one in shipped.items() if id in wanted)))


def identify_gpu(catalogue: Catalogue, pci_id: str, subsystem_id: str) -> GpuModel | None:
    """Tell which model a card is; None for one that nobody has described. Ids with the subsystem go first."""
    for ids in (f"{pci_id}:{subsystem_id}", pci_id):
        for model in (*catalogue.gpu_models, *shipped_models()):
            if ids in model.pci_ids:
                return model
    return None
