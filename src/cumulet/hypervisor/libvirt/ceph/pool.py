"""One disk pool that lies in Ceph: what its images are called, which disks are there, and how much room it has.

cumulet-INSTALLATION-UUID            a disk, with its snapshots by their ids
cumulet-INSTALLATION-image-SHA256    a copy of an image, once for all hosts; whole when its snapshot `base` is protected
cumulet-INSTALLATION-terms           terms of VMs, as metadata of an image without content
"""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.ceph_client import CephClient, CephRefused

BASE: Final = "base"
BELIEVED_SECONDS: Final = 10.0
"""For which a look at the cluster counts: one that does not answer is not waited for again and again."""


class Info(msgspec.Struct):
    """What is known of an image."""

    size: int


class Row(msgspec.Struct):
    """An image in a pool, or one of its snapshots."""

    image: str
    size: int
    snapshot: str = ""
    protected: str = "false"


@dataclass(slots=True, eq=False)
class Look:
    """What the last look at the cluster found."""

    at: float = float("-inf")
    problem: str = ""
    room_gib: int = 0
    fsid: str = ""
    """The cluster's own name, which stays."""


@dataclass(frozen=True, slots=True)
class RbdPool:
    """One of a host's disk pools."""

    id: str
    """The catalogue's."""
    prefix: str
    """What the names of all of an installation's images begin with."""
    client: CephClient
    _look: Look = field(default_factory=Look, compare=False)

    @property
    def secret_id(self) -> UUID:
        """Name the secret in which libvirt has the user's key."""
        return uuid5(NAMESPACE_URL, f"{self.prefix} client.{self.client.pool.user}")

    def image_of(self, disk_id: UUID) -> str:
        """Name a disk's image."""
        return f"{self.prefix}-{disk_id}"

    def base_of(self, sha256: str) -> str:
        """Name the copy of an image."""
        return f"{self.prefix}-image-{sha256}"

    def disk_in(self, image: str) -> UUID | None:
        """Which disk that image is, by its name; None when it is none of ours."""
        begin, _, id = image.partition(f"{self.prefix}-")
        try:
            return None if begin else UUID(id)
        except ValueError:
            return None

    def problem(self) -> str:
        """Say what keeps the pool from being used now; `""` when nothing does."""
        if missing := self.client.missing():
            return f"disk pool {self.id!r}: {missing} is not there"
        if time.monotonic() - self._look.at > BELIEVED_SECONDS:
            self._look_at_cluster()
        return self._look.problem

    def check(self) -> None:
        """Return when the pool can be used; HypervisorError says why not."""
        if problem := self.problem():
            raise HypervisorError(problem)

    def room_gib(self) -> int:
        """What is free for disks, and what they take already; 0 when it cannot be used."""
        return 0 if self.problem() else self._look.room_gib

    def identity(self) -> str:
        """Which pool of which cluster it is; `""` when it cannot be used."""
        return "" if self.problem() else f"{self._look.fsid}/{self.client.pool.name}"

    def size_of(self, image: str) -> int | None:
        """How many bytes an image has; None when it is not there."""
        try:
            answer = self.client.rbd("info", image, "--format=json")
        except CephRefused as refusal:
            if refusal.number == errno.ENOENT and image in str(refusal):
                return None
            raise HypervisorError(f"disk pool {self.id!r}: {refusal}") from refusal
        return msgspec.json.decode(answer, type=Info).size

    def rows(self) -> Iterator[Row]:
        """All images of the installation, and their snapshots; none when the pool cannot be used."""
        if not self.problem():
            answer = self.client.rbd("ls", "--long", "--format=json")
            every = msgspec.json.decode(answer, type=list[Row])
            yield from (row for row in every if row.image.startswith(f"{self.prefix}-"))

    def _look_at_cluster(self) -> None:
        look = self._look
        try:
            look.room_gib = self.client.room_gib()
            look.fsid = look.fsid or self.client.ceph("fsid").strip()
            look.problem = ""
        except HypervisorError as problem:
            look.problem = f"disk pool {self.id!r}: {problem}"
        look.at = time.monotonic()
