"""GPUs of a real host: libvirt tells less of them than the kernel does, and resets none that is bound for VMs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cumulet.hypervisor import HostGpus, PciGpu, Proof
from cumulet.hypervisor.fabric_manager import with_partitions
from cumulet.hypervisor.gpu_cleaning import clean_gpu, find_gpu
from cumulet.hypervisor.pci import read_gpus
from cumulet.hypervisor.vfio import ROOT


class LibvirtGpus:
    """GPUs on one host."""

    def __init__(self, run_guest: Callable[[PciGpu], Proof], root: Path = ROOT) -> None:
        """Take what runs the proof guest with a GPU, and where the host's /sys and /dev are."""
        self._run_guest = run_guest
        self._root = root

    def read(self) -> HostGpus:
        """Look at all of them."""
        return with_partitions(read_gpus(self._root / "sys"), self._root)

    def clean(self, address: str) -> None:
        """Make one as good as new."""
        clean_gpu(address, self._root)

    def prove(self, address: str) -> Proof:
        """Give one to the proof guest."""
        clean_gpu(address, self._root)
        proof = self._run_guest(find_gpu(address, self._root))
        clean_gpu(address, self._root)
        return proof
