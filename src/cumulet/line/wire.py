"""What is said on a connection beside verbs: which host is meant, and which verb is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from cumulet.hypervisor import CephPool
from cumulet.line.frames import reader

PACKAGES: Final = ("python3-libvirt",)
"""What a host needs whose helper runs on its own Python, beside what all hosts need."""
DATA_DIR: Final = Path("/var/lib/cumulet")
"""Where what is ours lies on a host that is far away."""


class HostWish(msgspec.Struct, frozen=True):
    """Which host is meant: a helper serves every installation that has this machine as a host."""

    installation: str
    state_dir: Path
    pools: Mapping[str, Path | None]
    """By disk pool, where its file system is mounted; None for the one under `state_dir`."""
    shared: frozenset[str] = frozenset()
    """Those pools that it has together with other hosts."""
    ceph: Mapping[str, CephPool] = {}
    """Further pools, and where in Ceph they lie."""


class Call(msgspec.Struct, array_like=True):
    """What is asked for."""

    part: str
    name: str
    arguments: msgspec.Raw


READS_WISH = reader(HostWish)
READS_CALL = reader(Call)
