"""Where things lie on a host and what they are called there: one place, so that a repeat finds its earlier self.

    ROOT/images/SHA256.FORMAT   copies of images, under the disks that are based on them
    ROOT/disks/UUID.qcow2       libvirt's pool cumulet-INSTALLATION
    MOUNT/cumulet-INSTALLATION  likewise, the pool cumulet-INSTALLATION-POOL of a disk pool mounted there
    ROOT/copies/SHA256.*        jobs that make such copies; ROOT/copies/POOL/SHA256.* for a pool that hosts share (`pools`)
    ROOT/captures/UUID.*        jobs that capture images of disks
    ROOT/terms/UUID.term        by VM that changed its host
    ROOT/seeds/UUID.iso         by VM
    ROOT/consoles/UUID.log      by VM; virtlogd turns over to UUID.log.0 and so on
    /var/log/libvirt/qemu       QEMU's own words, by domain; libvirt leaves them there for ever

QEMU runs as a user of its own, who must get through to them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from cumulet.hypervisor import BaseImage, ImageName
from cumulet.hypervisor.libvirt.numa import NumaNode
from cumulet.hypervisor.libvirt.pools import DiskPool, DiskPools, make_passable
from cumulet.hypervisor.taps import TAP_PREFIX

GIB: Final = 1 << 30
DESCRIPTION: Final = 2
"""Counts how often `domain_xml` came to describe the same machine in another way."""
QEMU_LOGS: Final = Path("/var/log/libvirt/qemu")


@dataclass(frozen=True, slots=True)
class HostPaths:
    """What domains of one installation have in common on one host."""

    installation: str
    root: Path
    pools: DiskPools
    kvm: bool
    """Guests run under KVM; otherwise under TCG."""
    userspace_datapath: bool
    """Open vSwitch moves packets without the kernel's help, where unfinished checksums would be lost."""
    nodes: tuple[NumaNode, ...] = ()
    """Of the host's memory and processors, where there is a choice that is worth it."""

    @property
    def name(self) -> str:
        """What the names of domains and of libvirt's pools begin with."""
        return name_of(self.installation)

    @property
    def traits(self) -> str:
        """What a domain's definition depends on besides its spec: when it changes, domains are defined anew."""
        datapath = "userspace" if self.userspace_datapath else "kernel"
        nodes = "".join(f" {node.number}:{node.cpus}" for node in self.nodes)
        return f"{'kvm' if self.kvm else 'tcg'} {datapath} {TAP_PREFIX} {DESCRIPTION}{nodes}"

    @property
    def images(self) -> Path:
        """Where copies of images lie."""
        return self.root / "images"

    @property
    def copies(self) -> Path:
        """Where the jobs are that make copies of images."""
        return self.root / "copies"

    @property
    def captures(self) -> Path:
        """Where the jobs are that capture images of disks, and where those grow."""
        return self.root / "captures"

    @property
    def terms(self) -> Path:
        """Where the terms of VMs are kept."""
        return self.root / "terms"

    @property
    def seeds(self) -> Path:
        """Where seeds lie."""
        return self.root / "seeds"

    @property
    def consoles(self) -> Path:
        """Where serial consoles are logged."""
        return self.root / "consoles"

    def domain_name(self, vm_id: UUID) -> str:
        """Name a VM's domain."""
        return f"{self.name}-{vm_id}"

    def is_ours(self, domain_name: str) -> bool:
        """Tell our domains from others on the host."""
        return domain_name.startswith(f"{self.name}-")

    def image(self, image: BaseImage | ImageName, pool: DiskPool | None = None) -> Path:
        """Place an image's copy under disks in a pool."""
        directory = pool.images if pool and pool.shared else self.images
        return directory / f"{image.sha256}.{image.format}"

    def seed(self, vm_id: UUID) -> Path:
        """Place a VM's seed."""
        return self.seeds / f"{vm_id}.iso"

    def console(self, vm_id: UUID) -> Path:
        """Place the log of a VM's serial console."""
        return self.consoles / f"{vm_id}.log"

    def qemu_log(self, vm_id: UUID) -> Path:
        """Say where libvirt keeps what a VM's QEMU itself had to say."""
        return QEMU_LOGS / f"{self.domain_name(vm_id)}.log"

    def make_directories(self) -> None:
        """Make what is missing; HypervisorError when QEMU's user cannot get there."""
        for directory in (self.images, self.copies, self.captures, self.terms, self.seeds, self.consoles):
            make_passable(directory)
        for pool in self.pools.usable():
            make_passable(pool.directory)


def name_of(installation: str) -> str:
    """What all of an installation on its hosts is called by."""
    return f"cumulet-{installation}"
