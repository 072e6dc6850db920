"""GPUs of a domain: seen to be on the host when it is defined, given to VFIO before it starts, and refusals of them in words.

libvirt and QEMU say what failed for them, which is seldom what somebody can do something about.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import libvirt

from cumulet.hypervisor import DomainSpec, GpuInUse, GpuMissing, HypervisorError
from cumulet.hypervisor.fabric_manager import join
from cumulet.hypervisor.libvirt.connection import message_of
from cumulet.hypervisor.libvirt.gpu_xml import functions_in, with_hugepages
from cumulet.hypervisor.vfio import NOT_GIVEN, ROOT, bind_for_vms

DEFINITION: Final = libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE
PAGES: Final = "sys/kernel/mm/hugepages/hugepages-1048576kB"
MOUNTED: Final = re.compile(r"^\S+ \S+ hugetlbfs \S*\bpagesize=1024M\b", re.MULTILINE)
KIB_PER_GIB: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """What libvirt or QEMU says, and what it means for whoever runs the host."""

    said: str
    means: str


IN_USE: Final = re.compile(r"is in use by driver|Device or resource busy")
REFUSALS: Final = (
    Refusal(
        "is not viable",
        "the host itself has a device of a GPU's IOMMU group: `cumulet doctor` says which and how to bind it for VMs",
    ),
    Refusal(
        "Unable to reset PCI device|not doing bus reset|no FLR",
        "nothing resets a GPU: put it into a slot whose root port has nothing else below it",
    ),
    Refusal(
        "doesn't support.*passthrough|no iommu_group found|not supported on this system",
        "the host has no IOMMU in use: `cumulet doctor` says how to get it",
    ),
    Refusal(
        "Failed to set iommu for container: Operation not permitted",
        "the host's IOMMU does not remap interrupts: `cumulet doctor` says how to get that",
    ),
    Refusal(
        "VFIO_MAP_DMA failed",
        "the host cannot lock as much memory as the VM has: free some, or place fewer VMs there",
    ),
    Refusal(
        "hugetlbfs",
        "libvirtd started before the host's 1 GiB pages were mounted: restart libvirtd",
    ),
    Refusal(
        "unable to map backing store for guest RAM",
        "the host's free 1 GiB pages were taken meanwhile: it is tried with what there is then",
    ),
)


def check_there(spec: DomainSpec, root: Path = ROOT) -> None:
    """Return when all functions of a machine's GPUs are on the host; GpuMissing otherwise."""
    for gpu in spec.gpus:
        for function in gpu.functions:
            if not (root / "sys/bus/pci/devices" / function).exists():
                raise GpuMissing(f"VM {spec.id} cannot be defined: {function} of its GPUs is not on the host")


def give_gpus(link: libvirt.virConnect, domain: libvirt.virDomain, root: Path = ROOT) -> None:
    """Have the GPUs of a domain that is to start bound for VMs and joined, and its memory of 1 GiB pages where enough are free now."""
    xml = domain.XMLDesc(DEFINITION)
    functions = functions_in(xml)
    if not functions:
        return
    bind_for_vms(functions, root)
    join(functions, root)
    fits = free_pages(root) * KIB_PER_GIB >= domain.maxMemory()
    if (changed := with_hugepages(xml, wanted=fits)) != xml:
        link.defineXML(changed)


def free_pages(root: Path = ROOT) -> int:
    """How many pages of 1 GiB the host has for whoever asks first; none that QEMU cannot get at."""
    pages = root / PAGES
    if not pages.exists() or not MOUNTED.search((root / "proc/self/mounts").read_text()):
        return 0
    free, promised = (int((pages / f"{name}_hugepages").read_text()) for name in ("free", "resv"))
    return free - promised


def refusal_in_words(error: libvirt.libvirtError) -> HypervisorError | None:
    """Say what a start with GPUs that libvirt refused failed for; None where it says so itself."""
    message = message_of(error)
    if IN_USE.search(message):
        return GpuInUse(f"a GPU is in use by another machine or by the host: {message}")
    for refusal in REFUSALS:
        if re.search(refusal.said, message):
            return HypervisorError(f"{refusal.means} ({message})", for_owner=NOT_GIVEN)
    return None
