"""The places that a host's disks lie in: one with all else that the host keeps, the others in file systems of their own.

A file system may not be mounted just now, which is looked at each time: its pool has no room and its disks are not
there until it is. So what was to go onto it never fills the disk under its mount point. One that two pools share
counts for the first of them alone, for each would promise the same room.

A pool may be one directory that hosts share. That it is the same on two of them shows the identity in it, which the
first host writes that sees it mounted:

    MOUNT/cumulet-INSTALLATION/identity
    MOUNT/cumulet-INSTALLATION/images/SHA256.FORMAT   copies of images, once for all hosts
    MOUNT/cumulet-INSTALLATION/terms/UUID.term        terms of VMs, which no host gets past

Others lie in Ceph (`ceph.pool`), where all hosts of a cluster share them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final
from uuid import UUID, uuid4

from cumulet.hypervisor import CephPool, HypervisorError
from cumulet.hypervisor.ceph_client import CephClient
from cumulet.hypervisor.libvirt.ceph.disks import find
from cumulet.hypervisor.libvirt.ceph.pool import RbdPool
from cumulet.hypervisor.libvirt.places import FilePlace, Place
from cumulet.hypervisor.mounts import NotMounted, find_device, holders_of

IDENTITY: Final = "identity"
NO_CEPH: Final[Mapping[str, CephPool]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class DiskPool:
    """One of them."""

    id: str
    """The catalogue's."""
    name: str
    """libvirt's."""
    directory: Path
    """Where its disks lie."""
    mount: Path | None
    """In which file system that is to be; None for the one under the host's root."""
    shared: bool = False
    """It is one directory for several hosts."""

    def disk(self, disk_id: UUID) -> Path:
        """Place a disk."""
        return self.directory / f"{disk_id}.qcow2"

    @property
    def images(self) -> Path:
        """Where copies of images lie in one that is shared."""
        return self.directory / "images"

    @property
    def terms(self) -> Path:
        """Where terms of VMs lie in one that is shared."""
        return self.directory / "terms"

    def read_identity(self) -> str:
        """Read which directory a shared one is; it gets an identity if it has none."""
        path = self.directory / IDENTITY
        if not path.exists():
            part = path.with_name(f"{IDENTITY}.{uuid4().hex}")
            part.write_text(uuid4().hex)
            try:
                os.link(part, path)
            except FileExistsError:
                pass  # another host's has come before
            finally:
                part.unlink()
        return path.read_text()


@dataclass(frozen=True, slots=True)
class DiskPools:
    """All of a host's disk pools, in the catalogue's order."""

    root: Path
    every: tuple[DiskPool, ...]
    """Those in directories."""
    ceph: tuple[RbdPool, ...] = ()
    """Those in Ceph."""

    def problems(self) -> Mapping[DiskPool, str]:
        """Say of each pool what keeps it from being used now; `""` when nothing does."""
        holders = holders_of(self.root, Path("/"))
        found = {}
        for pool in self.every:
            found[pool] = problem_of(pool, pool.mount, holders) if pool.mount else ""
        return found

    def identities(self) -> Mapping[str, str]:
        """By shared pool, the identity of its directory, or of its pool in Ceph; `""` while it cannot be used."""
        problems = self.problems()
        in_directories = {
            pool.id: "" if problem else pool.read_identity()
            for pool, problem in problems.items()
            if pool.shared
        }
        return in_directories | {pool.id: pool.identity() for pool in self.ceph}

    def usable(self) -> list[DiskPool]:
        """The pools whose disks are there now."""
        return [pool for pool, problem in self.problems().items() if not problem]

    def find(self, pool_id: str) -> DiskPool:
        """A pool that disks can be made in now; HypervisorError says why it is none."""
        for pool, problem in self.problems().items():
            if pool.id == pool_id:
                if problem:
                    raise HypervisorError(problem)
                return pool
        raise HypervisorError(f"the host has no disk pool {pool_id!r}")

    def shared_with_images(self, disk: Path) -> DiskPool | None:
        """The shared pool in which a disk's file lies, beside the image that it is based on; None for a host's own."""
        return next((pool for pool in self.every if pool.shared and pool.directory == disk.parent), None)

    def find_with(self, disk_id: UUID) -> DiskPool | None:
        """The pool that a disk lies in; None when it lies in none that is usable."""
        return next((pool for pool in self.usable() if pool.disk(disk_id).exists()), None)

    def find_disk(self, disk_id: UUID) -> Place:
        """Where a disk lies; HypervisorError when it lies nowhere."""
        if pool := self.find_with(disk_id):
            return FilePlace(pool.disk(disk_id))
        if place := next(filter(None, (find(pool, disk_id) for pool in self.ceph)), None):
            return place
        raise HypervisorError(f"the host has no disk {disk_id}")

    def find_ceph(self, pool_id: str) -> RbdPool | None:
        """The pool of that id if it lies in Ceph."""
        return next((pool for pool in self.ceph if pool.id == pool_id), None)

    def disk_at(self, name: str) -> UUID | None:
        """Which disk lies in the place of that name; None for what is no disk of ours."""
        path = Path(name)
        if path.parent in {pool.directory for pool in self.every}:
            with suppress(ValueError):
                return UUID(path.stem)
        in_pool, _, image = name.partition("/")
        return next((pool.disk_in(image) for pool in self.ceph if pool.client.pool.name == in_pool), None)


def place_pools(
    mounts: Mapping[str, Path | None],
    *,
    root: Path,
    name: str,
    shared: AbstractSet[str] = frozenset(),
    ceph: Mapping[str, CephPool] = NO_CEPH,
) -> DiskPools:
    """Say where the disks of each pool lie, by where its file system is mounted, or in Ceph; `name` is the installation's."""
    return DiskPools(
        root,
        tuple(
            DiskPool(id, name, root / "disks", None)
            if mount is None
            else DiskPool(id, f"{name}-{id}", mount / name, mount, shared=id in shared)
            for id, mount in mounts.items()
        ),
        tuple(RbdPool(id, name, CephClient(pool)) for id, pool in ceph.items()),
    )


def problem_of(pool: DiskPool, mount: Path, holders: dict[int, str]) -> str:
    """What keeps a pool from being used; one that can be gets its directory, and is the holder of its file system."""
    try:
        device = find_device(mount, holders)
    except NotMounted as why:
        return f"disk pool {pool.id!r}: nothing is mounted at {mount} ({why})"
    holders[device] = f"disk pool {pool.id!r}"
    return problem_of_making(pool)


def problem_of_making(pool: DiskPool) -> str:
    """Make a pool's directory; says what is wrong if that cannot be done."""
    try:
        for directory in (pool.directory, *((pool.images, pool.terms) if pool.shared else ())):
            directory.mkdir(mode=0o711, exist_ok=True)
        if pool.shared:
            pool.read_identity()
    except OSError as error:
        return f"disk pool {pool.id!r}: cannot make {pool.directory} ({error.strerror})"
    return ""


def make_passable(directory: Path) -> None:
    """Make a directory that QEMU's user gets through to; HypervisorError names what keeps it out."""
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o711)
    for above in directory.parents:
        if not above.stat().st_mode & stat.S_IXOTH:
            raise HypervisorError(f"QEMU's user cannot get to {directory}: run `chmod o+x {above}`")
