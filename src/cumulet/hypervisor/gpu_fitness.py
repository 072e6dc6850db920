"""Whether a GPU can be given to VMs and taken back clean; each cause against it in words, with its cure. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cumulet.hypervisor.gpus import GPU_MODULES, Iommu, PciFunction, PciGpu

FOR_VMS: Final = frozenset({"", "vfio-pci"})
"""Drivers of what a VM can be given: none, or the one that gives it."""
RESETS: Final = frozenset({"flr", "af_flr", "device_specific", "bridge"})
"""What leaves nothing of the last VM. `pm`, the way through a power state, may, and the firmware's `acpi` is its secret.

The kernel lists `bus` for a card's first function before it knows what else is on the bus, where it then fails; where
it works there is `bridge` as well, which is the same.
"""
WITH_GROUPS: Final = frozenset({Iommu.ON, Iommu.NO_REMAPPING})


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a GPU is not fit."""

    problem: str
    cure: str
    """What the operator does about it."""


IOMMU_CAUSES: Final[Mapping[Iommu, Cause]] = MappingProxyType(
    {
        Iommu.NO_TABLE: Cause(
            "the host's firmware tells of no IOMMU",
            "enable VT-d (Intel) or AMD-Vi/IOMMU (AMD) in the firmware",
        ),
        Iommu.OFF: Cause(
            "the host has an IOMMU that its kernel does not use",
            "run `cumulet gpu prepare` on the host, which adds intel_iommu=on iommu=pt (Intel) or iommu=pt (AMD) to its "
            "kernel's command line, and reboot it",
        ),
        Iommu.NO_REMAPPING: Cause(
            "the host's IOMMU does not remap interrupts, so that a VM could raise any of them",
            "enable interrupt remapping or x2APIC in the firmware, and take intremap=off and nointremap off the kernel's command line",
        ),
    }
)


def unfit_causes(gpu: PciGpu, iommu: Iommu) -> tuple[Cause, ...]:
    """Tell all that keeps a GPU from VMs; nothing for one that is fit."""
    return (*lasting_causes(gpu, iommu), *_drivers(gpu))


def lasting_causes(gpu: PciGpu, iommu: Iommu) -> tuple[Cause, ...]:
    """Tell what would keep a GPU from VMs even if the host's drivers left it alone."""
    return (
        *([IOMMU_CAUSES[iommu]] if iommu in IOMMU_CAUSES else []),
        *(_group(gpu) if iommu in WITH_GROUPS else []),
        *_silence(gpu),
        *_no_reset(gpu),
        *_display(gpu),
        *_parts(gpu),
        *_fabric(gpu),
    )


def _silence(gpu: PciGpu) -> Iterable[Cause]:
    if not gpu.answers:
        yield Cause(
            "it does not answer on the bus",
            "turn the host off and on again; if it stays silent, look after its power, its slot and the card",
        )


def _group(gpu: PciGpu) -> Iterable[Cause]:
    if not gpu.iommu_group:
        yield Cause(
            "it is in no IOMMU group",
            "take intel_iommu=igfx_off off the kernel's command line, or update the firmware, which leaves it out",
        )
    elif gpu.group_others:
        yield Cause(
            f"its IOMMU group {gpu.iommu_group} has others in it: {_named(gpu.group_others)}",
            "put the card into a slot of its own root port, or enable ACS in the firmware",
        )


def _no_reset(gpu: PciGpu) -> Iterable[Cause]:
    if RESETS.isdisjoint(gpu.reset_methods):
        known = f" ({' and '.join(gpu.reset_methods)} is not enough)" if gpu.reset_methods else ""
        yield Cause(
            f"nothing resets it for sure{known}, so the next VM could read what the last one left",
            "put the card into a slot whose root port has nothing else below it",
        )


def _display(gpu: PciGpu) -> Iterable[Cause]:
    if gpu.boot_display:
        yield Cause(
            "the host's own screen is on it",
            "choose another card, or the board's own graphics, as the first display in the firmware",
        )


def _drivers(gpu: PciGpu) -> Iterable[Cause]:
    held = [function for function in gpu.functions if function.driver not in FOR_VMS]
    if held:
        drivers = " and ".join(sorted({function.driver for function in held}))
        addresses = " and ".join(function.address for function in held)
        yield Cause(
            f"the host's own drivers have it: {_named(held)}",
            f"run `cumulet gpu prepare` on the host, which keeps {addresses} for VMs before {drivers} at the next boot",
        )


def _parts(gpu: PciGpu) -> Iterable[Cause]:
    if gpu.virtual_functions:
        yield Cause(
            f"it is split into {gpu.virtual_functions} virtual functions",
            f"write 0 into /sys/bus/pci/devices/{gpu.address}/sriov_numvfs",
        )


def _fabric(gpu: PciGpu) -> Iterable[Cause]:
    if gpu.fabric_problem:
        yield Cause(
            f"its NVSwitches cannot be set up for VMs: {gpu.fabric_problem}",
            "start nvidia-fabricmanager with FABRIC_MODE=1; once after every change of cards or firmware let NVIDIA's driver "
            f"have the GPUs, and run nvidia-smi -q > {GPU_MODULES}",
        )


def _named(functions: Iterable[PciFunction]) -> str:
    return ", ".join(f"{one.address} ({one.pci_id}{one.driver and f', {one.driver}'})" for one in functions)
