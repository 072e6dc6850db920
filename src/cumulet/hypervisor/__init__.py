"""The boundary to one host's machines and disks: what the cloud may ask of a hypervisor, and nothing else.

Two things obey it: `libvirt` for real hosts and `memory` for tests, demos and load. Every verb can be repeated:
it looks first and does only what is missing, because a reconcile that died half-way comes back to its own
unfinished work. Names on the host derive from our ids under the installation's id, so that a repeat finds its
earlier self and two installations on one host never touch each other's things.

A verb that meets a host which does not answer raises `HostUnreachable`; one that the host refuses raises
`HypervisorError` with words an owner can act on.
"""

from __future__ import annotations

from cumulet.hypervisor.ceph import CEPH_PACKAGES, CephPool
from cumulet.hypervisor.consoles import Consoles
from cumulet.hypervisor.disks import MOST_STORAGE_DISKS, Disks, DiskSpec, serial_of
from cumulet.hypervisor.errors import (
    GpuInUse,
    GpuMissing,
    GpusNotJoined,
    GpuUnclean,
    GuestRefused,
    GuestSilent,
    HostLost,
    HostUnreachable,
    HypervisorError,
    MachineOff,
    OlderTerm,
)
from cumulet.hypervisor.gpu_fitness import Cause, unfit_causes
from cumulet.hypervisor.gpus import (
    GpuFabric,
    GpuPartition,
    Gpus,
    HostGpus,
    Iommu,
    PciFunction,
    PciGpu,
    Proof,
    SeenDma,
    SeenFunction,
)
from cumulet.hypervisor.guests import NO_GUEST, Guest, Guests
from cumulet.hypervisor.host import HostFacts, Hypervisor
from cumulet.hypervisor.images import (
    BaseImage,
    ImageCapture,
    ImageCopy,
    ImageName,
    ImageOrder,
    Images,
    TakenFrom,
)
from cumulet.hypervisor.live_moves import Expected, LiveMoves
from cumulet.hypervisor.machines import (
    Domain,
    DomainSpec,
    Firmware,
    GpuSpec,
    Machines,
    NicSpec,
    OffReason,
    Power,
    Stats,
    Topology,
    spec_digest,
)
from cumulet.hypervisor.seeds import Seed, Seeds

__all__ = [
    "CEPH_PACKAGES",
    "MOST_STORAGE_DISKS",
    "NO_GUEST",
    "BaseImage",
    "Cause",
    "CephPool",
    "Consoles",
    "DiskSpec",
    "Disks",
    "Domain",
    "DomainSpec",
    "Expected",
    "Firmware",
    "GpuFabric",
    "GpuInUse",
    "GpuMissing",
    "GpuPartition",
    "GpuSpec",
    "GpuUnclean",
    "Gpus",
    "GpusNotJoined",
    "Guest",
    "GuestRefused",
    "GuestSilent",
    "Guests",
    "HostFacts",
    "HostGpus",
    "HostLost",
    "HostUnreachable",
    "Hypervisor",
    "HypervisorError",
    "ImageCapture",
    "ImageCopy",
    "ImageName",
    "ImageOrder",
    "Images",
    "Iommu",
    "LiveMoves",
    "MachineOff",
    "Machines",
    "NicSpec",
    "OffReason",
    "OlderTerm",
    "PciFunction",
    "PciGpu",
    "Power",
    "Proof",
    "Seed",
    "Seeds",
    "SeenDma",
    "SeenFunction",
    "Stats",
    "TakenFrom",
    "Topology",
    "serial_of",
    "spec_digest",
    "unfit_causes",
]
