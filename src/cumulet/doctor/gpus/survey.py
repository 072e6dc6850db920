"""Looks at all that matters before a host's GPUs can be given to VMs; changes nothing.

Every path is below a root, so that a tree of plain files can be any host.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cumulet.doctor.gpus import files
from cumulet.hypervisor import HostGpus, PciFunction
from cumulet.hypervisor.fabric_manager import with_partitions
from cumulet.hypervisor.pci import names_in, read_function, read_gpus, read_text

HUGEPAGES: Final = "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"
"""How many pages of 1 GiB the kernel keeps."""
CAP_SYS_RESOURCE: Final = 24
INTEL, AMD = "Intel", "AMD"
IDS_OPTION: Final = re.compile(r"^\s*options\s+vfio[-_]pci\s.*\bids=([0-9a-fA-F:,]+)", re.MULTILINE)
IDS_WORD: Final = re.compile(r"^vfio[-_]pci\.ids=([0-9a-fA-F:,]+)$")


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found on a host."""

    host: HostGpus
    functions: tuple[PciFunction, ...]
    """All PCI functions, in the order of their addresses."""
    overridden: frozenset[str]
    """Addresses of those that only vfio-pci may take."""
    maker: str
    """Whose IOMMU the firmware tells of: `Intel`, `AMD` or `""`."""
    command_line: tuple[str, ...]
    """What the kernel was started with."""
    ids: frozenset[str]
    """Devices that vfio-pci takes by vendor and device, wherever they are: somebody else's setting."""
    vfio: bool
    """Whether this kernel has vfio-pci."""
    hugepages: int | None
    """How many pages of 1 GiB are kept; None on a processor that has none."""
    memory_gib: int
    locks_memory: bool | None
    """Whether libvirtd can let QEMU lock all of a guest's memory; None while it does not run."""
    grub: bool
    systemd: bool
    initramfs_tools: bool
    ours: Mapping[str, str]
    """Our own files by path, and what is in them."""
    written_now: bool
    """Whether those were written since the host was started, so that a reboot is still to come."""


def survey_gpus(root: Path = Path("/"), *, release: str) -> Survey:
    """Look at a host whose kernel is of that release."""
    bus = root / "sys/bus/pci/devices"
    command_line = tuple(read_text(root / "proc/cmdline").split())
    return Survey(
        host=with_partitions(read_gpus(root / "sys"), root),
        functions=tuple(read_function(bus, address) for address in names_in(bus)),
        overridden=frozenset(
            one for one in names_in(bus) if read_text(bus / one / "driver_override") == "vfio-pci"
        ),
        maker=read_maker(root / "sys/firmware/acpi/tables"),
        command_line=command_line,
        ids=frozenset(read_ids(root, command_line)),
        vfio=has_vfio(root, release),
        hugepages=int(read_text(root / HUGEPAGES)) if (root / HUGEPAGES).exists() else None,
        memory_gib=read_memory(read_text(root / "proc/meminfo")),
        locks_memory=may_lock(root),
        grub=(root / "etc/default/grub").exists() and (root / "usr/sbin/update-grub").exists(),
        systemd=(root / "run/systemd/system").is_dir(),
        initramfs_tools=(root / files.INITRAMFS_TOOLS).is_dir(),
        ours={path: (root / path).read_text() for path in files.ALL if (root / path).exists()},
        written_now=is_of_this_boot(root),
    )


def read_maker(tables: Path) -> str:
    """Tell whose IOMMU it is by what the firmware calls its table."""
    if (tables / "DMAR").exists():
        return INTEL
    return AMD if (tables / "IVRS").exists() else ""


def read_ids(root: Path, command_line: tuple[str, ...]) -> list[str]:
    """Read which devices vfio-pci is told to take by their ids alone."""
    settings = sorted((root / "etc/modprobe.d").glob("*.conf"))
    told = [ids for path in settings for ids in IDS_OPTION.findall(path.read_text())]
    told += [found[1] for word in command_line if (found := IDS_WORD.match(word))]
    return [id.lower() for ids in told for id in ids.split(",")]


def has_vfio(root: Path, release: str) -> bool:
    """Whether a kernel has vfio-pci, loaded or as a module that can be."""
    modules = root / "lib/modules" / release
    listed = ((modules / name).exists() and "/vfio-pci.ko" in (modules / name).read_text() for name in LISTS)
    return (root / "sys/bus/pci/drivers/vfio-pci").exists() or any(listed)


LISTS: Final = ("modules.dep", "modules.builtin")


def read_memory(meminfo: str) -> int:
    """Read whole GiB out of /proc/meminfo."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", meminfo, re.MULTILINE)
    return int(found[1]) >> 20 if found else 0


def may_lock(root: Path) -> bool | None:
    """Whether libvirtd may raise how much its QEMUs lock, or has no limit itself."""
    pid = read_text(root / "run/libvirtd.pid")
    status = read_text(root / "proc" / pid / "status") if pid else ""
    if not status:
        return None
    capabilities = re.search(r"^CapEff:\s+([0-9a-f]+)", status, re.MULTILINE)
    limits = read_text(root / "proc" / pid / "limits")
    unlimited = re.search(r"^Max locked memory\s+\S+\s+unlimited", limits, re.MULTILINE)
    return bool(unlimited or (capabilities and int(capabilities[1], 16) >> CAP_SYS_RESOURCE & 1))


def is_of_this_boot(root: Path) -> bool:
    """Whether the mark that is left by a change names the boot that the host is in."""
    return (root / files.WRITTEN_IN).exists() and read_text(root / files.WRITTEN_IN) == read_boot(root)


def read_boot(root: Path) -> str:
    """Read which boot this is."""
    return read_text(root / "proc/sys/kernel/random/boot_id")
