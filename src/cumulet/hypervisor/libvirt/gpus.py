"""GPUs of a real host: libvirt tells less of them than the kernel does, and resets none that is bound for VMs."""

from __future__ import annotations

from pathlib import Path

from cumulet.hypervisor import HostGpus
from cumulet.hypervisor.fabric_manager import with_partitions
from cumulet.hypervisor.gpu_cleaning import clean_gpu
from cumulet.hypervisor.pci import read_gpus
from cumulet.hypervisor.vfio import ROOT


class LibvirtGpus:
    """GPUs on one host."""

    def __init__(self, root: Path = ROOT) -> None:
        """Take where the host's /sys and /dev are."""
        self._root = root

    def read(self) -> HostGpus:
        """Look at all of them."""
        return with_partitions(read_gpus(self._root / "sys"))

    def clean(self, address: str) -> None:
        """Make one as good as new."""
        clean_gpu(address, self._root)
