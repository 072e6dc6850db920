"""Disks as RBD images: clones of an image's copy, or empty; each verb does only what is missing."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID
from xml.etree import ElementTree as ET

import msgspec

from cumulet.hypervisor import DiskSpec, HypervisorError
from cumulet.hypervisor.ceph_client import CONF, GIB, CephRefused, fine
from cumulet.hypervisor.libvirt.ceph.pool import BASE, RbdPool
from cumulet.hypervisor.libvirt.elements import element

MOMENT: Final = "moment"
"""A snapshot that is nobody's but an image's that is being captured."""
FOR_GOOD: Final = f"{10 * 365 * 24 * 3600}"
"""Seconds for which a client is refused: no machine is held still for as long, and no client ever has the address of one before it."""


class Client(msgspec.Struct):
    """Who has an image open to write, or has locked it for that."""

    address: str


class Status(msgspec.Struct):
    """Who has an image open."""

    watchers: list[Client]


class Snapshot(msgspec.Struct):
    """One snapshot of an image."""

    name: str


@dataclass(frozen=True, slots=True)
class RbdDisk:
    """A disk that is there, and where: its content is as large as it, and its snapshots are the image's."""

    pool: RbdPool
    id: UUID
    kind: str = "network"
    format: str = "raw"

    @property
    def image(self) -> str:
        """The image's name."""
        return self.pool.image_of(self.id)

    @property
    def name(self) -> str:
        """The pool's and the image's."""
        return f"{self.pool.client.pool.name}/{self.image}"

    @property
    def driver(self) -> Mapping[str, str]:
        """Have a machine stand still that is cut off: it is to answer nobody while another one goes on in its place."""
        return {"error_policy": "stop"}

    @property
    def image_opts(self) -> str:
        """Pool and image, as whom and by which cluster's file."""
        ceph = self.pool.client.pool
        return f"driver=raw,file.driver=rbd,file.pool={ceph.name},file.image={self.image},file.user={ceph.user},file.conf={CONF}"

    def source(self) -> ET.Element:
        """The same, with the secret in which libvirt has the key."""
        secret = element("secret", type="ceph", uuid=str(self.pool.secret_id))
        return element(
            "source",
            element("config", file=str(CONF)),
            element("auth", secret, username=self.pool.client.pool.user),
            protocol="rbd",
            name=self.name,
        )

    def grow(self, size_gib: int) -> None:
        """Let it grow; no machine runs with it."""
        if (self.pool.size_of(self.image) or 0) < size_gib * GIB:
            self._rbd("resize", self.image, "--size", f"{size_gib}G", "--no-progress")

    def remove(self) -> None:
        """Remove it with its snapshots, unless somebody has it open."""
        with fine(errno.ENOENT):
            self.check_idle()
            self._rbd("snap", "purge", self.image, "--no-progress")
            self._rbd("rm", self.image, "--no-progress")

    def take(self, snapshot_id: UUID) -> None:
        """Keep its content of now."""
        if snapshot_id not in self.snapshots():
            self._snap("create", snapshot_id)

    def revert(self, snapshot_id: UUID) -> None:
        """Bring a snapshot's content and size back."""
        self._snap("rollback", snapshot_id)

    def forget(self, snapshot_id: UUID) -> None:
        """Forget a snapshot, if it is there."""
        if snapshot_id in self.snapshots():
            self._snap("rm", snapshot_id)

    def snapshots(self) -> frozenset[UUID]:
        """The image's snapshots; also of one in use."""
        answer = self._rbd("snap", "ls", self.image, "--format=json")
        found = msgspec.json.decode(answer, type=list[Snapshot])
        return frozenset(UUID(one.name) for one in found if one.name != MOMENT)

    @property
    def moment_opts(self) -> str:
        """What it held at the moment that is kept, as QEMU's tools are told of it."""
        return f"{self.image_opts},file.snapshot={MOMENT}"

    def keep_moment(self) -> bool:
        """Keep what it holds now, under a machine that runs with it or none; says that it did."""
        self._rbd("snap", "create", f"{self.image}@{MOMENT}", "--no-progress")
        return True

    def forget_moment(self) -> None:
        """Keep it no longer, if it is kept."""
        with fine(errno.ENOENT):
            self._rbd("snap", "rm", f"{self.image}@{MOMENT}", "--no-progress")

    def check_idle(self) -> None:
        """Return when nobody has it open to write, on whichever host; HypervisorError."""
        if addresses := self._watchers():
            raise HypervisorError(f"disk {self.id} is in use by {', '.join(addresses)}")

    def cut_off(self) -> tuple[str, ...]:
        """Have the cluster refuse those who have it open, for good, and say who they are.

        One that lost its own line to the cluster is not seen any more, but its lock is, which it took to write.
        """
        refused: set[str] = set()
        while others := {*self._watchers(), *self._lockers()} - refused:
            for address in others:
                self.pool.client.ceph("osd", "blocklist", "add", address, FOR_GOOD)
            refused |= others
        return tuple(sorted(refused))

    def _watchers(self) -> list[str]:
        answer = self._rbd("status", self.image, "--format=json")
        return [one.address for one in msgspec.json.decode(answer, type=Status).watchers]

    def _lockers(self) -> list[str]:
        answer = self._rbd("lock", "ls", self.image, "--format=json")
        return [one.address for one in msgspec.json.decode(answer, type=list[Client])]

    def _snap(self, verb: str, snapshot_id: UUID) -> None:
        self.check_idle()
        self._rbd("snap", verb, f"{self.image}@{snapshot_id}", "--no-progress")

    def _rbd(self, *words: str) -> str:
        return self.pool.client.rbd(*words)


def create(pool: RbdPool, disk: DiskSpec) -> None:
    """Make the disk, unless it is there whole; one that died after the clone is as small as its image."""
    pool.check()
    made = RbdDisk(pool, disk.id)
    if disk.base:
        clone(pool, disk.base.sha256, made)
        made.grow(disk.size_gib)
    else:
        with fine(errno.EEXIST):
            pool.client.rbd("create", made.image, "--size", f"{disk.size_gib}G")


def clone(pool: RbdPool, sha256: str, disk: RbdDisk) -> None:
    """Clone an image's copy, which stays from then on.

    Clones of the older form are those that need it protected, and no copy loses its protection while there is one.
    """
    parent = f"{pool.client.pool.name}/{pool.base_of(sha256)}@{BASE}"
    try:
        with fine(errno.EEXIST):
            pool.client.rbd("clone", "--rbd_default_clone_format=1", parent, disk.name)
    except CephRefused as refusal:
        raise HypervisorError(f"image {sha256[:12]} is not in disk pool {pool.id!r}: {refusal}") from refusal


def find(pool: RbdPool, disk_id: UUID) -> RbdDisk | None:
    """A disk, or None when it is not in the pool, or this host has not been given what leads there."""
    if pool.client.missing() or pool.size_of(pool.image_of(disk_id)) is None:
        return None
    return RbdDisk(pool, disk_id)


def sizes(pool: RbdPool) -> Mapping[UUID, int]:
    """All disks in the pool with their sizes in GiB."""
    found = ((pool.disk_in(row.image), row.size) for row in pool.rows() if not row.snapshot)
    return {id: size // GIB for id, size in found if id}
