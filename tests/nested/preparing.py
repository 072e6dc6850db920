"""A host is made ready for GPUs where a real kernel heeds what is written, and given back."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cumulet.doctor.gpus.plan import GpuWish
from cumulet.doctor.gpus.prepare import keep_gpus, prepare_gpus, undo_gpus
from cumulet.hypervisor import PciGpu
from cumulet.hypervisor.pci import read_gpus

DEVICES: Final = Path("/sys/bus/pci/devices")


def prepare_and_undo() -> object:
    """Prepare it twice, with a boot's loss in between, and undo it."""
    first = prepare_gpus(GpuWish())
    after = {gpu.address: overrides(gpu) for gpu in read_gpus().gpus}
    for gpu in read_gpus().gpus:
        for one in gpu.functions:
            (DEVICES / one.address / "driver_override").write_text("\n")
    lost = prepare_gpus(GpuWish())
    keep_gpus()
    again = prepare_gpus(GpuWish())
    removed = undo_gpus()
    return {
        "first": told(first),
        "overrides": after,
        "drivers": {gpu.address: [one.driver for one in gpu.functions] for gpu in read_gpus().gpus},
        "lost": told(lost),
        "again": told(again),
        "removed": removed,
        "undone": {gpu.address: overrides(gpu) for gpu in read_gpus().gpus},
    }


def told(plan) -> dict[str, tuple[str, str]]:
    """The state of each step, and what it says."""
    return {step.name: (step.state, step.text) for step in plan.steps}


def overrides(gpu: PciGpu) -> list[str]:
    """Which driver alone may take each function."""
    return [(DEVICES / one.address / "driver_override").read_text().strip() for one in gpu.functions]
