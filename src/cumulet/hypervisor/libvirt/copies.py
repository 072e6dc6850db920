"""The copies of images that disks of each pool are based on: the host's own, a shared directory's, Ceph's."""

from __future__ import annotations

from typing import Protocol

from cumulet.hypervisor import BaseImage, ImageCopy
from cumulet.hypervisor.libvirt.ceph.images import RbdCopies
from cumulet.hypervisor.libvirt.image_copies import ImageCopies
from cumulet.hypervisor.libvirt.paths import HostPaths


class Copies(Protocol):
    """Copies in one place."""

    def ensure(self, image: BaseImage) -> ImageCopy:
        """Begin a copy or find it; one that failed is told once and begun again with the next call."""

    def complete(self) -> dict[str, int]:
        """Digests of the copies that are whole, and the bytes that they take."""

    def remove_abandoned(self) -> None:
        """Remove what copies that nobody is at any more left behind."""


class CopiesByPool:
    """All of a host's."""

    def __init__(self, paths: HostPaths) -> None:
        self._own = ImageCopies(paths)
        self._shared = {pool.id: ImageCopies(paths, pool) for pool in paths.pools.every if pool.shared}
        self._ceph = {pool.id: RbdCopies(pool, paths.copies / pool.id) for pool in paths.pools.ceph}

    def beside(self, pool_id: str) -> Copies:
        """Those under disks of a pool."""
        return self._ceph.get(pool_id) or self.in_files_beside(pool_id)

    def in_files_beside(self, pool_id: str) -> ImageCopies:
        """Those under disks of a pool that is a directory."""
        return self._shared.get(pool_id, self._own)

    def in_files(self) -> list[ImageCopies]:
        """Those in directories."""
        return [self._own, *self._shared.values()]

    def in_ceph(self) -> list[RbdCopies]:
        """Those in Ceph."""
        return [*self._ceph.values()]

    def every(self) -> list[Copies]:
        """All of them."""
        return [*self.in_files(), *self.in_ceph()]
