"""What the cloud says of a Ceph that hosts keep disks in; the rest is in files that its operator gave each host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

CEPH_PACKAGES: Final = ("ceph-common", "qemu-block-extra")
"""What a host needs besides that keeps disks there; named alike in Debian 12 and in Ubuntu 24.04."""


@dataclass(frozen=True, slots=True)
class CephPool:
    """A pool of a Ceph cluster, and as whom hosts use it."""

    name: str
    """The cluster's own name for it."""
    user: str
    """Without `client.`: its key is in `/etc/ceph/ceph.client.USER.keyring` on each host."""
