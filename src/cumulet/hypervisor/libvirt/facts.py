"""What a host has, asked of libvirt; but for its free disk, of which libvirt only remembers how it was."""

from __future__ import annotations

import hashlib
import shutil
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import libvirt

from cumulet.hypervisor import HostFacts
from cumulet.hypervisor.libvirt.paths import GIB, HostPaths
from cumulet.hypervisor.libvirt.pools import DiskPools

CPUS: Final = 2
ROUTES: Final = Path("/proc/net/route")
BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
DESTINATION: Final = 1
MASK: Final = 7
BLOCK: Final = 512
"""Bytes, whatever the file system's own blocks are (stat(2))."""
ALL_NODES: Final = -1


def read_facts(link: libvirt.virConnect, paths: HostPaths) -> HostFacts:
    """Ask the host what it has."""
    accelerator = "kvm" if paths.kvm else "tcg"
    capabilities, qemu = link.getCapabilities(), f"QEMU {dotted(link.getVersion())}"
    return HostFacts(
        name=link.getHostname(),
        cpus=link.getInfo()[CPUS],
        memory_mib=link.getMemoryStats(ALL_NODES)["total"] // 1024,
        disk_gib=read_room(paths.pools),
        cpu_model=read_cpu_model(capabilities),
        cpu_group=read_cpu_group(capabilities) if paths.kvm else f"emulated by {qemu}",
        accelerator=accelerator,
        version=f"{qemu}, libvirt {dotted(link.getLibVersion())}",
        routes=read_routes(ROUTES.read_text()),
        boot_id=BOOT_ID.read_text().strip(),
        shared_pools=paths.pools.identities(),
    )


def read_routes(table: str) -> tuple[IPv4Network, ...]:
    """Read the kernel's table of routes, whose addresses are numbers in the order of the machine's bytes."""
    columns = (line.split() for line in table.splitlines()[1:])
    found = {(int(column[DESTINATION], 16), int(column[MASK], 16)) for column in columns}
    routes = (
        IPv4Network((target.to_bytes(4, sys.byteorder), f"{IPv4Address(mask.to_bytes(4, sys.byteorder))}"))
        for target, mask in found
    )
    return tuple(sorted(route for route in routes if route.prefixlen > 0))


def read_room(pools: DiskPools) -> Mapping[str, int]:
    """What each disk pool has for disks."""
    in_directories = {
        pool.id: 0 if problem else read_disk_gib(pool.directory) for pool, problem in pools.problems().items()
    }
    return in_directories | {pool.id: pool.room_gib() for pool in pools.ceph}


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


def read_cpu_model(capabilities: str) -> str:
    """The processor's name, or at least its architecture."""
    cpu = ET.fromstring(capabilities).find("host/cpu")  # noqa: S314 - libvirt's
    if cpu is None:
        return "unknown"
    return cpu.findtext("model") or cpu.findtext("arch") or "unknown"


def read_cpu_group(capabilities: str) -> str:
    """Name the processor with all that guests could find of it: firmware switches features off on one of two that are alike."""
    cpu = ET.fromstring(capabilities).find("host/cpu")  # noqa: S314 - libvirt's
    if cpu is None:
        return "unknown"
    features = sorted(one.get("name", "") for one in cpu.iter("feature"))
    digest = hashlib.sha256(" ".join((cpu.findtext("vendor", ""), *features)).encode()).hexdigest()[:8]
    return f"{read_cpu_model(capabilities)} {digest}"


def dotted(version: int) -> str:
    """Write a version that libvirt packs into one number."""
    return f"{version // 1_000_000}.{version // 1000 % 1000}.{version % 1000}"
