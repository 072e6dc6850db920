"""Seeds on a real host: one NoCloud disk for each VM."""

from __future__ import annotations

from uuid import UUID

from cumulet.hypervisor import Seed
from cumulet.hypervisor.libvirt.files import ids_in, remove, write_whole
from cumulet.hypervisor.libvirt.nocloud import seed_image
from cumulet.hypervisor.libvirt.paths import HostPaths


class LibvirtSeeds:
    """Seeds on one host."""

    def __init__(self, paths: HostPaths) -> None:
        self._paths = paths

    def write(self, seed: Seed) -> None:
        """Write the seed whole."""
        write_whole(self._paths.seed(seed.vm_id), seed_image(seed))

    def remove(self, vm_id: UUID) -> None:
        """Remove the seed, if it is there."""
        remove(self._paths.seed(vm_id))

    def list(self) -> frozenset[UUID]:
        """VMs that have a seed."""
        return ids_in(self._paths.seeds, ".iso")
