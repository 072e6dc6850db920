"""Copies of images in Ceph, under the disks that are cloned from them: one for all hosts of the cluster.

A host brings one in under a name of its own, keeps a protected snapshot of it and gives it its right name, which only
one of several hosts can. What is protected is whole; a clone needs it so, and it stays so as long as there is a clone.
"""

from __future__ import annotations

import errno
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from uuid import UUID

import msgspec

from cumulet.hypervisor import BaseImage, HypervisorError, ImageCopy
from cumulet.hypervisor.ceph_client import CONF, CephRefused, fine
from cumulet.hypervisor.libvirt.ceph.pool import BASE, RbdPool
from cumulet.hypervisor.libvirt.conversion import convert
from cumulet.hypervisor.libvirt.image_copies import READY, digest_of
from cumulet.hypervisor.libvirt.jobs import Job, Jobs, Record
from cumulet.hypervisor.libvirt.places import file_opts


class Child(msgspec.Struct):
    """An image that was cloned from another one."""

    image: str


class Snapshot(msgspec.Struct):
    """A snapshot of an image."""

    name: str
    protected: str


class RbdCopies:
    """The copies in one pool; those in the making are found again by their digests."""

    def __init__(self, pool: RbdPool, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._pool = pool
        self._rbd = pool.client.rbd
        self._folder = folder
        self._jobs = Jobs(folder, Record, failing="cannot copy the image")

    def ensure(self, image: BaseImage) -> ImageCopy:
        """Begin a copy or find it; one that failed is told once and begun again with the next call."""
        self._pool.check()
        if self._is_whole(image.sha256) and not self._jobs.failure(image.sha256):
            return READY
        begun = Record(source=str(image.path), part=str(self._folder / f"{image.sha256}.part"))
        record = self._jobs.ensure(
            image.sha256,
            partial(self._make, image),
            fresh=lambda _: begun,
            is_done=lambda _: self._is_whole(image.sha256),
        )
        return ImageCopy(ready=False, fraction=record.fraction, error=record.error)

    def complete(self) -> dict[str, int]:
        """Digests of the copies that are whole, and the bytes that they may take."""
        begin = self._pool.base_of("")
        return {
            row.image.removeprefix(begin): row.size
            for row in self._pool.rows()
            if row.image.startswith(begin) and row.snapshot == BASE and row.protected == "true"
        }

    def remove(self, sha256: str) -> None:
        """Remove a copy; HypervisorError while a disk is based on it."""
        self._pool.check()
        name = self._pool.base_of(sha256)
        try:
            with fine(errno.ENOENT, errno.EINVAL):  # it is not there; its removal has begun
                self._rbd("snap", "unprotect", f"{name}@{BASE}")
        except CephRefused as refusal:
            based = self._disks_on(name)
            if not based:
                raise
            raise HypervisorError(
                f"image {sha256[:12]} is the base of {len(based)} disks, first {based[0]}"
            ) from refusal
        self._clear(name)
        self._jobs.cancel(sha256)

    def remove_abandoned(self) -> None:
        """Forget copies that nobody is at any more."""
        self._jobs.forget_idle()

    def _make(self, image: BaseImage, job: Job[Record]) -> None:
        """Bring the image in whole, unless another host has done so meanwhile."""
        with image.path.open("rb") as file:
            if digest_of(file) != image.sha256:
                raise HypervisorError(f"{image.path} has changed: build or import the image again")
        part = f"{self._pool.prefix}-part-{image.sha256}-{socket.gethostname()}"
        self._drop(part)
        try:
            pool, source = self._pool.client.pool, file_opts(image.path, image.format)
            there = f"rbd:{pool.name}/{part}:id={pool.user}:conf={CONF}"
            convert(source, there, to="raw", progress=job.progress)
            self._rbd("snap", "create", f"{part}@{BASE}", "--no-progress")
            self._rbd("snap", "protect", f"{part}@{BASE}")
            name = self._pool.base_of(image.sha256)
            if not self._is_whole(image.sha256):
                self._clear(name)
            with fine(errno.EEXIST):
                self._rbd("rename", part, name)
        finally:
            self._drop(part)

    def _drop(self, part: str) -> None:
        """Remove what came in under a host's own name."""
        with fine(errno.ENOENT, errno.EINVAL):
            self._rbd("snap", "unprotect", f"{part}@{BASE}")
        self._clear(part)

    def _clear(self, name: str) -> None:
        """Remove an image without protected snapshots, if it is there."""
        with fine(errno.ENOENT):
            self._rbd("snap", "purge", name, "--no-progress")
            self._rbd("rm", name, "--no-progress")

    def _is_whole(self, sha256: str) -> bool:
        with fine(errno.ENOENT):
            answer = self._rbd("snap", "ls", self._pool.base_of(sha256), "--format=json")
            found = msgspec.json.decode(answer, type=list[Snapshot])
            return any(one.name == BASE and one.protected == "true" for one in found)
        return False

    def _disks_on(self, name: str) -> list[UUID]:
        children: list[Child] = []
        with suppress(CephRefused):
            answer = self._rbd("children", f"{name}@{BASE}", "--format=json")
            children = msgspec.json.decode(answer, type=list[Child])
        return [id for child in children if (id := self._pool.disk_in(child.image))]
