"""Images on a real host: copies for disks to be based on, and images captured of disks."""

from __future__ import annotations

import socket
from uuid import UUID

from cumulet.hypervisor import (
    BaseImage,
    HypervisorError,
    ImageCapture,
    ImageCopy,
    ImageOrder,
)
from cumulet.hypervisor.file_content import give_file
from cumulet.hypervisor.libvirt import volumes
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.copies import CopiesByPool
from cumulet.hypervisor.libvirt.image_capture import ImageCaptures
from cumulet.hypervisor.libvirt.image_copies import ImageCopies
from cumulet.hypervisor.libvirt.paths import HostPaths


class LibvirtImages:
    """Images on one host."""

    def __init__(
        self, paths: HostPaths, works: Connection, copies: CopiesByPool, captures: ImageCaptures
    ) -> None:
        self._paths = paths
        self._works = works
        self._copies = copies
        self._captures = captures

    def copy(self, image: BaseImage, pool: str = "") -> ImageCopy:
        """Begin or find the copy."""
        return self._copies.beside(pool).ensure(image)

    def copies(self, pool: str | None = None) -> dict[str, int]:
        """The complete copies, with what they take."""
        places = self._copies.every() if pool is None else [self._copies.beside(pool)]
        return {sha256: size for copies in places for sha256, size in copies.complete().items()}

    def send_copy(self, sha256: str) -> socket.socket:
        """Give a copy's file."""
        found = (copies.find(sha256) for copies in self._copies.in_files())
        path = next((path for path in found if path), None)
        if path is None:
            raise HypervisorError(f"image {sha256[:12]} is not on this host")
        return give_file(path)

    def receive_copy(self, image: BaseImage, pool: str = "") -> socket.socket:
        """Take in a copy's file."""
        if self._paths.pools.find_ceph(pool):
            raise HypervisorError(f"image {image.sha256[:12]} comes into Ceph from the image store alone")
        return self._copies.in_files_beside(pool).take(image)

    def remove_copy(self, sha256: str) -> None:
        """Remove the copies of an image that no disk is based on."""
        for copies in self._copies.in_files():
            self._remove_from(copies, sha256)
        for in_ceph in self._copies.in_ceph():
            in_ceph.remove(sha256)

    def _remove_from(self, copies: ImageCopies, sha256: str) -> None:
        path = copies.find(sha256)
        if path is None:
            return

        def refuse_base() -> None:
            based = self._works.call(lambda link: volumes.disks_based_on(link, str(path), self._paths))
            if based:
                raise HypervisorError(
                    f"image {sha256[:12]} is the base of {len(based)} disks, first {based[0]}"
                )

        copies.remove(path, check=refuse_base)

    def capture(self, order: ImageOrder) -> ImageCapture:
        """Begin or find the capture."""
        return self._captures.ensure(order)

    def captures(self) -> frozenset[UUID]:
        """Images of whose capture anything is here."""
        return self._captures.known()

    def forget_capture(self, image_id: UUID) -> bool:
        """Give it up."""
        return self._captures.forget(image_id)
