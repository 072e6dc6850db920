"""Decides what is to be done so that a host's GPUs can be given to VMs: its steps in words, and files as they are to be. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from cumulet.doctor.gpus import files
from cumulet.doctor.gpus.files import HostFile, kept_by, words_of
from cumulet.doctor.gpus.steps import (
    IOMMU_WORDS,
    UNFIT,
    Step,
    StepState,
    hugepage_words,
    hugepages_step,
    id_steps,
    iommu_step,
    kept_step,
    memlock_step,
    missing_table,
    moved_steps,
    pages_written,
    remapping_step,
    vfio_step,
)
from cumulet.doctor.gpus.survey import Survey
from cumulet.errors import Invalid
from cumulet.hypervisor import Iommu, PciFunction, PciGpu
from cumulet.hypervisor.gpu_fitness import lasting_causes
from cumulet.hypervisor.pci import BRIDGE

DRIVERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "10de": ("nouveau", "nvidiafb", "nvidia", "nvidia_drm", "nvidia_modeset", "nvidia_uvm"),
        "1002": ("amdgpu", "radeon"),
    }
)
"""Drivers that only GPUs of that vendor need, and what belongs to them."""
AUDIO: Final = "0403"
LEFT_GIB: Final = 4
"""What a host needs beside hugepages."""


@dataclass(frozen=True, slots=True)
class GpuWish:
    """What the operator wants."""

    addresses: tuple[str, ...] = ()
    """The GPUs that are for VMs; none named: all that can be."""
    hugepages: int | None = None
    """GiB of memory that the host keeps in pages of 1 GiB; None: as it is."""


@dataclass(frozen=True, slots=True)
class GpuPlan:
    """What a host needs, in order, and what is to be changed for that."""

    steps: tuple[Step, ...]
    files: tuple[HostFile, ...]
    """Our files that are to be other than they are."""
    hugepages: int | None
    """How many pages of 1 GiB the kernel is to keep from now on; None: as many as it does."""

    @property
    def changes_nothing(self) -> bool:
        """Whether all that can be done here is done."""
        return not self.files and self.hugepages is None

    def has(self, state: StepState) -> bool:
        """Whether any step is that far."""
        return any(step.state is state for step in self.steps)


def decide(survey: Survey, wish: GpuWish) -> GpuPlan:
    """Decide all steps; Invalid for a wish that this host cannot fulfil."""
    check_wish(survey, wish)
    if not survey.host.gpus and not survey.ours:
        return GpuPlan((Step("GPU", StepState.LEFT, "this host has none that VMs could get"),), (), None)
    if survey.host.iommu is Iommu.NO_TABLE:
        return GpuPlan((missing_table(),), (), None)
    kept, pages = choose(survey, wish), pages_wanted(survey, wish)
    new = tuple(one for one in wanted_files(survey, kept, pages) if survey.ours.get(one.path) != one.text)
    told = steps(survey, wish, kept, {one.path for one in new})
    return GpuPlan(tuple(told), new, wish.hugepages if pages_change(survey, wish) else None)


def pages_change(survey: Survey, wish: GpuWish) -> bool:
    """Whether the kernel is to be asked for other pages than it keeps; what waits for a reboot is not asked for again."""
    asked = survey.grub and pages_written(survey) == wish.hugepages
    return survey.hugepages is not None and wish.hugepages not in {None, survey.hugepages} and not asked


def steps(survey: Survey, wish: GpuWish, kept: Sequence[PciGpu], new: Collection[str]) -> Iterable[Step]:
    """Give all steps in their order; `new` are the files that are not yet as they are to be."""
    yield iommu_step(survey)
    if survey.host.iommu is Iommu.NO_REMAPPING:
        yield remapping_step(survey)
    yield vfio_step(survey)
    yield from (gpu_step(gpu, survey, wish, kept, new) for gpu in survey.host.gpus)
    yield from id_steps(survey)
    yield from moved_steps(survey)
    yield from drivers_step(survey, kept, new)
    yield hugepages_step(survey, pages_wanted(survey, wish), exactly=wish.hugepages is not None)
    yield memlock_step(survey)


def check_wish(survey: Survey, wish: GpuWish) -> None:
    """Refuse GPUs that are not there, and more memory than there is."""
    there = [gpu.address for gpu in survey.host.gpus]
    for address in wish.addresses:
        if address not in there:
            raise Invalid.field(
                "ADDRESS", address, f"a GPU of this host: {', '.join(there) or 'it has none'}"
            )
    most = max(survey.memory_gib - LEFT_GIB, 0)
    if wish.hugepages and wish.hugepages > most:
        raise Invalid.field("hugepages", wish.hugepages, f"at most {most} of {survey.memory_gib} GiB")


def choose(survey: Survey, wish: GpuWish) -> tuple[PciGpu, ...]:
    """Give the GPUs that are kept for VMs; none as long as no IOMMU tells what else would go with them."""
    if survey.host.iommu is not Iommu.ON:
        return ()
    named = (gpu for gpu in survey.host.gpus if gpu.address in (wish.addresses or {gpu.address}))
    return tuple(gpu for gpu in named if not lasting_causes(gpu, survey.host.iommu))


def pages_wanted(survey: Survey, wish: GpuWish) -> int:
    """Give how many pages of 1 GiB are wanted now, or were when our file was written."""
    return pages_written(survey) if wish.hugepages is None else wish.hugepages


def wanted_files(survey: Survey, kept: Sequence[PciGpu], pages: int) -> Iterable[HostFile]:
    """Give our files as they are to be; one that has nothing to say and is not there stays away."""
    yield from grub_file(survey, pages)
    if survey.host.iommu is Iommu.ON and (kept or files.BINDER in survey.ours):
        yield from keeping_files(survey, kept)
    if survey.systemd and (survey.locks_memory is False or files.MEMLOCK in survey.ours):
        yield HostFile(files.MEMLOCK, files.MEMLOCK_TEXT)


def keeping_files(survey: Survey, kept: Sequence[PciGpu]) -> Iterable[HostFile]:
    """Give the files by which cards are kept from the host's drivers."""
    script = files.binder(kept)
    yield HostFile(files.BINDER, script)
    if survey.systemd:
        yield HostFile(files.UNIT, files.UNIT_TEXT)
        yield HostFile(files.WANTED, files.WANTED_TEXT)
    if survey.initramfs_tools:
        yield HostFile(files.INITRAMFS, script)
    drivers = unneeded_drivers(survey, kept)
    if drivers or files.BLACKLIST in survey.ours:
        yield HostFile(files.BLACKLIST, files.blacklist(drivers))


def grub_file(survey: Survey, pages: int) -> Iterable[HostFile]:
    """Give the file with our words for the kernel, where GRUB reads it."""
    had = words_of(survey.ours.get(files.GRUB, ""))
    words = [word for word in IOMMU_WORDS[survey.maker] if word in had or survey.host.iommu is Iommu.OFF]
    words += hugepage_words(pages) if survey.hugepages is not None else ()
    if survey.grub and (words or had):
        yield HostFile(files.GRUB, files.grub(words))


def unneeded_drivers(survey: Survey, kept: Sequence[PciGpu]) -> list[str]:
    """Name the drivers that only cards kept for VMs would have; what joins GPUs needs its vendor's."""
    own = {one.address for gpu in kept for one in gpu.functions}
    others = [one for one in survey.functions if one.kind != BRIDGE and one.address not in own]
    vendors = {gpu.pci_id[:4] for gpu in kept} - {one.pci_id[:4] for one in others}
    drivers = [driver for vendor in sorted(vendors) for driver in DRIVERS.get(vendor, ())]
    audio = has_audio(one for gpu in kept for one in gpu.functions) and not has_audio(others)
    return [*drivers, *(["snd_hda_intel"] if audio else [])]


def has_audio(functions: Iterable[PciFunction]) -> bool:
    """Whether any of them plays sound."""
    return any(one.kind == AUDIO for one in functions)


def gpu_step(
    gpu: PciGpu, survey: Survey, wish: GpuWish, kept: Sequence[PciGpu], new: Collection[str]
) -> Step:
    """Say whether a card is kept for VMs, and why not."""
    name = f"GPU {gpu.address}"
    if gpu in kept:
        return kept_step(
            gpu, survey, written=not {files.BINDER, files.UNIT, files.WANTED, files.INITRAMFS} & {*new}
        )
    if wish.addresses and gpu.address not in wish.addresses:
        return left_step(gpu, survey, "it is not among those named", "")
    if survey.host.iommu is not Iommu.ON:
        return Step(
            name, StepState.WAITS, "its IOMMU group shows once the IOMMU is on", "run this again then", UNFIT
        )
    causes = lasting_causes(gpu, survey.host.iommu)
    why, cure = "; ".join(one.problem for one in causes), "; ".join(one.cure for one in causes)
    if wish.addresses:
        return Step(name, StepState.YOURS, why, cure, UNFIT)
    return left_step(gpu, survey, why, f"to give it to VMs: {cure}")


def left_step(gpu: PciGpu, survey: Survey, why: str, how: str) -> Step:
    """Say why a card is the host's, and whether it was a VM's before."""
    name = f"GPU {gpu.address}"
    if gpu.address in kept_by(survey.ours.get(files.BINDER, "")):
        return Step(name, StepState.TO_DO, why, "give it back to the host at its next boot", UNFIT)
    return Step(name, StepState.LEFT, why, how, UNFIT)


def drivers_step(survey: Survey, kept: Sequence[PciGpu], new: Collection[str]) -> Iterable[Step]:
    """Tell which drivers are kept from loading."""
    if drivers := unneeded_drivers(survey, kept):
        text, cost = f"nothing but GPUs for VMs needs {', '.join(drivers)}", "they are loaded for nothing"
        if files.BLACKLIST in new:
            yield Step("drivers", StepState.TO_DO, text, f"blacklist them in /{files.BLACKLIST}", cost)
        else:
            yield Step("drivers", StepState.DONE, f"{text}: not loaded")
