"""What a host has, asked of libvirt so that a distant host answers as well as this one."""

from __future__ import annotations

from typing import Final
from xml.etree import ElementTree as ET

import libvirt

from cumulet.hypervisor import HostFacts
from cumulet.hypervisor.libvirt.layout import HostLayout
from cumulet.hypervisor.libvirt.volumes import GIB, find_pool

CPUS: Final = 2
CAPACITY: Final = 1
ALL_NODES: Final = -1


def read_facts(link: libvirt.virConnect, layout: HostLayout) -> HostFacts:
    """Ask the host what it has."""
    return HostFacts(
        name=link.getHostname(),
        cpus=link.getInfo()[CPUS],
        memory_mib=link.getMemoryStats(ALL_NODES)["total"] // 1024,
        disk_gib=find_pool(link, layout).info()[CAPACITY] // GIB,
        cpu_model=read_cpu_model(link),
        accelerator="kvm" if layout.kvm else "tcg",
        version=f"QEMU {dotted(link.getVersion())}, libvirt {dotted(link.getLibVersion())}",
    )


def read_cpu_model(link: libvirt.virConnect) -> str:
    """The processor's name, or at least its architecture."""
    cpu = ET.fromstring(link.getCapabilities()).find("host/cpu")  # noqa: S314 - libvirt's
    if cpu is None:
        return "unknown"
    return cpu.findtext("model") or cpu.findtext("arch") or "unknown"


def dotted(version: int) -> str:
    """Write a version that libvirt packs into one number."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
