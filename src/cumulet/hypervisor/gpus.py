"""GPUs of a host, as its PCI bus shows them; whether they are fit for VMs is decided elsewhere (`gpu_fitness`)."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, Protocol

KINDS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "0300": "VGA controller",
        "0302": "3D controller",
        "0380": "display controller",
        "1200": "accelerator",
    }
)
"""Classes of PCI functions that are GPUs."""
VENDORS: Final[Mapping[str, str]] = MappingProxyType({"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"})
"""Those who make GPUs worth giving to a VM; whatever else draws a screen is the board's own."""

GPU_MODULES: Final = Path("/etc/cumulet/nvidia-smi.txt")
"""Where a host with NVSwitches keeps what `nvidia-smi -q` said while NVIDIA's driver had the GPUs."""

GpuFabric = Literal["", "nvswitch", "xgmi"]
"""What joins GPUs beside PCI: partitions that are activated, or a hive in which all reach each other's memory."""


class Iommu(enum.Enum):
    """How far a host is from keeping a device's memory accesses inside of its VM."""

    NO_TABLE = "no table in the firmware"
    OFF = "not used by the kernel"
    NO_REMAPPING = "without interrupt remapping"
    ON = "on"


@dataclass(frozen=True, slots=True)
class PciFunction:
    """One function of a PCI device."""

    address: str
    """`0000:65:00.0`"""
    pci_id: str
    """Vendor and device: `10de:2330`."""
    kind: str
    """Class and subclass: `0302`."""
    driver: str
    """The host's driver that has it now; empty for none."""


@dataclass(frozen=True, slots=True)
class PciGpu:
    """A card with a GPU."""

    functions: tuple[PciFunction, ...]
    """All of the card, audio and USB too; the GPU is the first."""
    subsystem_id: str
    """The card's maker and model: `10de:16c1`."""
    revision: str
    iommu_group: str
    """Empty without an IOMMU."""
    group_others: tuple[PciFunction, ...]
    """What else is in that group, bridges left out: who has one of a group has all."""
    numa_node: int | None
    """None where the firmware does not say."""
    bridges: tuple[str, ...]
    """Addresses of the root port and the switches' ports above it, from the root on."""
    bar_bytes: tuple[int, ...]
    """Sizes of its memory BARs."""
    reset_methods: tuple[str, ...]
    """As the kernel names them, and `bridge` where the bridge above it has nothing else below."""
    boot_display: bool
    """The firmware's screen is on it."""
    virtual_functions: int
    """How many SR-IOV functions it has been split into."""
    answers: bool
    """Whether it is still on the bus: of one that fell off, all that is read is ones."""
    errors: int = 0
    """How many PCIe errors that nothing mended its functions have reported since they are there; begins at 0 again with the host."""
    fabric_problem: str = ""
    """Why what joins it with others beside PCI cannot be set up for a VM; empty when it can, and where nothing does."""

    @property
    def address(self) -> str:
        """Where the GPU itself is."""
        return self.functions[0].address

    @property
    def pci_id(self) -> str:
        """The GPU's vendor and device."""
        return self.functions[0].pci_id


@dataclass(frozen=True, slots=True)
class GpuPartition:
    """GPUs that switches between them join and part from all others, once it is activated.

    Those of a host overlap: of two that do, one can be active.
    """

    number: int
    """As the host's fabric manager counts them."""
    addresses: tuple[str, ...]
    active: bool = False


@dataclass(frozen=True, slots=True)
class HostGpus:
    """All GPUs of a host, in the order of their addresses, and what its IOMMU does for them."""

    iommu: Iommu
    gpus: tuple[PciGpu, ...]
    partitions: tuple[GpuPartition, ...] = ()
    """Those that its fabric manager offers; none without one."""


@dataclass(frozen=True, slots=True)
class SeenFunction:
    """One function of a card, as a guest sees it."""

    pci_id: str
    """Vendor and device: `10de:2330`; `ffff:ffff` where the guest finds nothing."""
    bars: tuple[int, ...]
    """The six registers, as the guest's firmware has set them."""
    masters_bus: bool
    """The guest could let it reach memory by itself."""


@dataclass(frozen=True, slots=True)
class SeenDma:
    """Where a device got to that copies memory when it is told to: none that people buy does so without its driver."""

    inside: bool
    """It copied what the guest's memory held to elsewhere in it."""
    outside: int
    """What it read where the guest has no memory; 0 where the host keeps it from that."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What a small guest of ours found of a GPU that it was given."""

    functions: tuple[SeenFunction, ...]
    """In the order of the host's."""
    dma: SeenDma | None
    """None of a card without such a device."""


class Gpus(Protocol):
    """GPUs on one host."""

    def read(self) -> HostGpus:
        """Look at all of them; changes nothing."""

    def clean(self, address: str) -> None:
        """Make a GPU that no machine has as good as new: bound for VMs, reset, and seen to be healthy.

        GpuInUse while a machine or something else has it open; GpuUnclean when it cannot be reset or is not healthy.
        """

    def prove(self, address: str) -> Proof:
        """Start a small guest with a GPU that no machine has, and tell what that found; the GPU is cleaned before and after.

        GpuInUse and GpuUnclean as of `clean`; HypervisorError when the guest did not come to its end.
        """
