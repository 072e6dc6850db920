"""What a host has, asked of libvirt; but for its free disk, of which libvirt only remembers how it was."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import libvirt

from cumulet.hypervisor import HostFacts
from cumulet.hypervisor.libvirt.layout import GIB, HostLayout

CPUS: Final = 2
BLOCK: Final = 512
"""Bytes, whatever the file system's own blocks are (stat(2))."""
ALL_NODES: Final = -1


def read_facts(link: libvirt.virConnect, layout: HostLayout) -> HostFacts:
    """Ask the host what it has."""
    return HostFacts(
        name=link.getHostname(),
        cpus=link.getInfo()[CPUS],
        memory_mib=link.getMemoryStats(ALL_NODES)["total"] // 1024,
        disk_gib=read_disk_gib(layout.disks),
        cpu_model=read_cpu_model(link),
        accelerator="kvm" if layout.kvm else "tcg",
        version=f"QEMU {dotted(link.getVersion())}, libvirt {dotted(link.getLibVersion())}",
    )


def read_disk_gib(directory: Path) -> int:
    """What the file system under disks has for them: what is free, and what they take already.

    Not its whole size: a guest that fills a disk it was promised would fill the host, and the database with it.
    """
    taken = sum(blocks_of(path) for path in directory.iterdir()) * BLOCK
    return (shutil.disk_usage(directory).free + taken) // GIB


def blocks_of(file: Path) -> int:
    """How many blocks a file takes; 0 for one that has just been removed."""
    try:
        return file.stat().st_blocks
    except FileNotFoundError:
        return 0


def read_cpu_model(link: libvirt.virConnect) -> str:
    """The processor's name, or at least its architecture."""
    cpu = ET.fromstring(link.getCapabilities()).find("host/cpu")  # noqa: S314 - libvirt's
    if cpu is None:
        return "unknown"
    return cpu.findtext("model") or cpu.findtext("arch") or "unknown"


def dotted(version: int) -> str:
    """Write a version that libvirt packs into one number."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
