"""The single things that a host needs for its GPUs: each tells how it is, what to do about it, and what it costs as it is. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from cumulet.doctor.gpus import files
from cumulet.doctor.gpus.files import kept_by, words_of
from cumulet.doctor.gpus.survey import AMD, INTEL, Survey
from cumulet.hypervisor import Iommu, PciGpu
from cumulet.hypervisor.gpu_fitness import FOR_VMS, IOMMU_CAUSES, lasting_causes

IOMMU_WORDS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {INTEL: ("intel_iommu=on", "iommu=pt"), AMD: ("iommu=pt",), "": ()}
)
AGAINST: Final = frozenset({"intel_iommu=off", "amd_iommu=off", "iommu=off", "intremap=off", "nointremap"})
"""Words by which somebody turned the IOMMU off, or half of it."""
NO_GPUS: Final = "GPUs cannot be given to VMs"
UNFIT: Final = "it cannot be given to VMs"


class StepState(StrEnum):
    """How far a step is."""

    DONE = "done"
    TO_DO = "to do"
    REBOOT = "needs a reboot"
    WAITS = "waits"
    """For another step."""
    LEFT = "the host's"
    YOURS = "yours to do"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that a host needs."""

    name: str
    state: StepState
    text: str
    """What was found."""
    next: str = ""
    """What is to be done about it; empty when it is done."""
    cost: str = NO_GPUS
    """What it costs as it is; counts unless it is done."""


def missing_table() -> Step:
    """Say that only the firmware's setup leads on."""
    cause = IOMMU_CAUSES[Iommu.NO_TABLE]
    cure = f"{cause.cure}; then run this again"
    return Step("firmware", StepState.YOURS, cause.problem, cure)


def iommu_step(survey: Survey) -> Step:
    """Whether the kernel uses the IOMMU."""
    if survey.host.iommu is not Iommu.OFF:
        return Step("IOMMU", StepState.DONE, "on")
    cause, words = IOMMU_CAUSES[Iommu.OFF], IOMMU_WORDS[survey.maker]
    if against := sorted(AGAINST & set(survey.command_line)):
        return Step("IOMMU", StepState.YOURS, cause.problem, take_off(against))
    if set(words) <= set(survey.command_line):
        cure = "see why: dmesg | grep -i -e DMAR -e IOMMU -e AMD-Vi"
        return Step("IOMMU", StepState.YOURS, f"{cause.problem}, though it was told to", cure)
    return boot_step("IOMMU", cause.problem, words, survey)


def boot_step(name: str, problem: str, words: Sequence[str], survey: Survey, cost: str = NO_GPUS) -> Step:
    """Say what becomes of words for the kernel's command line."""
    added = " ".join(words)
    if not survey.grub:
        return Step(
            name,
            StepState.YOURS,
            problem,
            f"add {added} to what your boot loader tells the kernel, and reboot",
            cost,
        )
    if set(words) <= set(words_of(survey.ours.get(files.GRUB, ""))):
        return awaited(
            name, problem, f"see what GRUB tells the kernel: grep '{added}' /boot/grub/grub.cfg", survey, cost
        )
    return Step(name, StepState.TO_DO, problem, f"write {added} into /{files.GRUB}, and reboot", cost)


def awaited(name: str, problem: str, cure: str, survey: Survey, cost: str = NO_GPUS) -> Step:
    """Wait for the reboot after our files were written, or say that it did not help."""
    if survey.written_now:
        return Step(name, StepState.REBOOT, problem, "reboot the host, then run this again", cost)
    return Step(name, StepState.YOURS, f"{problem}, though the host was told at its boot", cure, cost)


def remapping_step(survey: Survey) -> Step:
    """Say what stands against interrupt remapping."""
    cause = IOMMU_CAUSES[Iommu.NO_REMAPPING]
    against = sorted(AGAINST & set(survey.command_line))
    return Step("interrupts", StepState.YOURS, cause.problem, take_off(against) if against else cause.cure)


def take_off(words: Sequence[str]) -> str:
    """Say that words of somebody else's have to go."""
    return f"take {' and '.join(words)} off the kernel's command line, which Cumulet did not put there, and reboot"


def vfio_step(survey: Survey) -> Step:
    """Whether there is a driver that gives devices to VMs."""
    if survey.vfio:
        return Step("vfio-pci", StepState.DONE, "there")
    cure = "install a kernel that has it: linux-image-amd64 (Debian) or linux-generic (Ubuntu)"
    return Step("vfio-pci", StepState.YOURS, "the running kernel has no module vfio-pci", cure)


def kept_step(gpu: PciGpu, survey: Survey, *, written: bool) -> Step:
    """Say how far a card is that is kept for VMs; `written` is whether our files say so."""
    name, held = f"GPU {gpu.address}", [one for one in gpu.functions if one.driver not in FOR_VMS]
    drivers = " and ".join(sorted({one.driver for one in held}))
    problem = f"the host's drivers have it: {drivers}" if held else "any driver of the host may take it"
    if not written:
        reboot = ", which takes a reboot" if held else ""
        return Step(name, StepState.TO_DO, problem, f"keep it for VMs by /{files.BINDER}{reboot}", UNFIT)
    if held:
        cure = (
            "see why: systemctl status cumulet-gpus" if survey.systemd else f"see why: sh -x /{files.BINDER}"
        )
        return awaited(name, problem, cure, survey, UNFIT)
    if all(one.address in survey.overridden for one in gpu.functions):
        return Step(name, StepState.DONE, "kept for VMs")
    again = "systemctl restart cumulet-gpus" if survey.systemd else f"sh /{files.BINDER}"
    return Step(name, StepState.YOURS, f"{problem}: it was not kept for VMs at the host's boot", again, UNFIT)


def moved_steps(survey: Survey) -> Iterable[Step]:
    """Tell of cards that are kept for VMs and are not where they were."""
    there = {one.address: one.pci_id for one in survey.functions}
    for address, id in kept_by(survey.ours.get(files.BINDER, "")).items():
        if there.get(address) != id:
            now = there.get(address, "nothing")
            text = f"{id} was kept for VMs at {address}, where there is {now} now: left to the host"
            yield Step(
                f"keeping {address}",
                StepState.TO_DO,
                text,
                "forget it, and keep what is there if it is a GPU",
                UNFIT,
            )


def id_steps(survey: Survey) -> Iterable[Step]:
    """Tell of settings that give a host's card to vfio-pci because its twin is for VMs."""
    for gpu in survey.host.gpus:
        if gpu.pci_id in survey.ids and lasting_causes(gpu, Iommu.ON):
            yield Step(
                f"GPU {gpu.address}",
                StepState.YOURS,
                f"vfio-pci is told to take every {gpu.pci_id}, this one too, which cannot be given to VMs",
                "take ids= of vfio-pci out of /etc/modprobe.d and off the kernel's command line: cards are kept by address",
                "the host has no driver for it",
            )


def pages_written(survey: Survey) -> int:
    """Read how many pages of 1 GiB our file tells the kernel to keep."""
    written = (word.partition("hugepages=") for word in words_of(survey.ours.get(files.GRUB, "")))
    return next((int(number) for before, found, number in written if found and not before), 0)


def hugepages_step(survey: Survey, pages: int, *, exactly: bool = False) -> Step:
    """Whether the memory of VMs with GPUs can come in pages of 1 GiB: so many at least, or exactly so many."""
    name, cost = "hugepages", "VMs with GPUs start slowly and reach their memory less quickly"
    if survey.hugepages is None:
        return Step(name, StepState.DONE, "none: this processor has no pages of 1 GiB")
    if survey.hugepages == pages or (survey.hugepages > pages and not exactly):
        text = f"{survey.hugepages} GiB kept" if survey.hugepages else "none kept: see --hugepages"
        return Step(name, StepState.DONE, text)
    if survey.hugepages > pages:
        return Step(name, StepState.TO_DO, f"{survey.hugepages} GiB kept", f"keep {pages} GiB", cost)
    problem = f"{survey.hugepages} of {pages} GiB kept"
    return boot_step(name, problem, hugepage_words(pages), survey, cost)


def hugepage_words(pages: int) -> tuple[str, ...]:
    """Say to the kernel how many pages of 1 GiB to keep."""
    return ("hugepagesz=1G", f"hugepages={pages}") if pages else ()


def memlock_step(survey: Survey) -> Step:
    """Whether QEMU may lock all of a guest's memory, which a device writes to without asking."""
    if survey.locks_memory is None:
        return Step("memlock", StepState.DONE, "not looked at: libvirtd does not run")
    if survey.locks_memory:
        return Step("memlock", StepState.DONE, "libvirtd may raise it")
    problem = "libvirtd has a limit on locked memory that it may not raise"
    if survey.systemd:
        return Step("memlock", StepState.TO_DO, problem, f"lift it in /{files.MEMLOCK} and restart libvirtd")
    cure = "start libvirtd with `ulimit -l unlimited`, or with the capability SYS_RESOURCE"
    return Step("memlock", StepState.YOURS, problem, cure)
