"""The terms of VMs beside their disks in Ceph: metadata of one image without content."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

import msgspec

from cumulet.hypervisor.ceph_client import fine
from cumulet.hypervisor.libvirt.ceph.pool import RbdPool


@dataclass(frozen=True, slots=True)
class RbdTerms:
    """The terms in one pool."""

    pool: RbdPool

    def read(self, vm_id: UUID) -> int:
        """Read a kept term; 0 when there is none."""
        with fine(errno.ENOENT):
            return int(self.pool.client.rbd("image-meta", "get", self._image, str(vm_id)))
        return 0

    def write(self, vm_id: UUID, term: int) -> None:
        """Keep a term."""
        with fine(errno.EEXIST):
            self.pool.client.rbd("create", self._image, "--size", "1M")
        self.pool.client.rbd("image-meta", "set", self._image, str(vm_id), str(term))

    def forget(self, vm_id: UUID) -> None:
        """Forget one, if it is there."""
        with fine(errno.ENOENT):
            self.pool.client.rbd("image-meta", "remove", self._image, str(vm_id))

    def kept(self) -> Mapping[UUID, int]:
        """All of them."""
        with fine(errno.ENOENT):
            answer = self.pool.client.rbd("image-meta", "list", self._image, "--format=json")
            return msgspec.json.decode(answer or "{}", type=dict[UUID, int], strict=False)
        return {}

    @property
    def _image(self) -> str:
        return f"{self.pool.prefix}-terms"
