"""The GPUs of a host, and whether an IOMMU lets them be given to VMs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cumulet.doctor.findings import Finding, degraded, ok

DISPLAY_CLASSES: Final = {"0300": "VGA controller", "0302": "3D controller", "1200": "accelerator"}
VENDORS: Final = {"10de": "NVIDIA", "1002": "AMD", "8086": "Intel"}
"""Those who make GPUs worth giving to a VM; whatever else draws a screen is the board's own."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU as the host's PCI bus shows it."""

    address: str
    """0000:65:00.0"""
    kind: str
    vendor: str
    id: str
    """Vendor and device, 10de:2330."""
    iommu_group: str
    """Empty without an IOMMU."""
    driver: str
    """The host's driver that holds it now; empty for none."""


def find_gpus(pci: Path = Path("/sys/bus/pci/devices")) -> list[Gpu]:
    """The GPUs on a PCI bus, in the order of their addresses."""
    devices = sorted(pci.iterdir()) if pci.is_dir() else []
    return [gpu for device in devices if (gpu := read_gpu(device)) is not None]


def read_gpu(device: Path) -> Gpu | None:
    """One device's directory in /sys; None when it is no GPU."""
    kind = DISPLAY_CLASSES.get(read_hex(device / "class")[:4])
    vendor = read_hex(device / "vendor")
    if kind is None or vendor not in VENDORS:
        return None
    return Gpu(
        address=device.name,
        kind=kind,
        vendor=VENDORS[vendor],
        id=f"{vendor}:{read_hex(device / 'device')}",
        iommu_group=link_name(device / "iommu_group"),
        driver=link_name(device / "driver"),
    )


def read_hex(path: Path) -> str:
    """A number in /sys without its 0x."""
    return path.read_text().strip().removeprefix("0x")


def link_name(path: Path) -> str:
    """The last part of where a link points; empty without one."""
    return path.readlink().name if path.is_symlink() else ""


def has_iommu(groups: Path = Path("/sys/kernel/iommu_groups")) -> bool:
    """Whether the kernel has put any device behind an IOMMU."""
    return groups.is_dir() and any(groups.iterdir())


def judge_gpus(gpus: list[Gpu], *, iommu: bool) -> list[Finding]:
    """The IOMMU, and each GPU."""
    named = [ok("GPU", describe_gpu(gpu)) for gpu in gpus] or [ok("GPU", "none")]
    if iommu:
        return [ok("IOMMU", "on"), *named]
    if not gpus:
        return [ok("IOMMU", "off, and no GPU that needs it"), *named]
    cure = "enable VT-d or AMD-Vi in the firmware, boot with intel_iommu=on iommu=pt (AMD: iommu=pt)"
    return [degraded("IOMMU", "off", cost="GPUs cannot be given to VMs", cure=cure), *named]


def describe_gpu(gpu: Gpu) -> str:
    """A GPU in a line."""
    group = f", IOMMU group {gpu.iommu_group}" if gpu.iommu_group else ""
    return f"{gpu.vendor} {gpu.kind} {gpu.id} at {gpu.address}{group}, driver {gpu.driver or 'none'}"
