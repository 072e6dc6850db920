"""GPUs of a real host: libvirt tells less of them than the kernel does."""

from __future__ import annotations

from cumulet.hypervisor import GpuUnclean, HostGpus
from cumulet.hypervisor.fabric_manager import with_partitions
from cumulet.hypervisor.pci import read_gpus


class LibvirtGpus:
    """GPUs on one host."""

    def read(self) -> HostGpus:
        """Look at all of them."""
        return with_partitions(read_gpus())

    def clean(self, address: str) -> None:
        """Refuse: nothing here resets a GPU yet."""
        raise GpuUnclean(f"GPU {address} cannot be reset by this version")
