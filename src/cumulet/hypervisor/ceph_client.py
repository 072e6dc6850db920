"""Ceph's own programs, asked about one pool: what they answer, and in what words they refuse.

The key never leaves its file but into libvirt's memory: programs are told whose it is, and find it themselves.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from cumulet.hypervisor.ceph import CephPool
from cumulet.hypervisor.errors import HypervisorError

CONF: Final = Path("/etc/ceph/ceph.conf")
PATIENCE: Final = ("--client_mount_timeout=5", "--rados_mon_op_timeout=5", "--rados_osd_op_timeout=20")
"""Seconds: a cluster that does not answer must not hold up who asks."""
SECONDS: Final = 120
"""In which any of the calls ends: the longest removes a large disk."""
GIB: Final = 1 << 30
LOG_LINE: Final = re.compile(r"\d{4}-\d\d-\d\dT\S+ \w+ +-?\d+ ")
"""What the library logs beside what the program says."""


class PoolStats(msgspec.Struct):
    """What a pool takes, and what it could take more; without the replicas."""

    stored: int
    max_avail: int


class PoolRow(msgspec.Struct):
    """A pool of a cluster."""

    name: str
    stats: PoolStats


class Df(msgspec.Struct):
    """All pools of a cluster."""

    pools: list[PoolRow]


class CephRefused(HypervisorError):
    """A program of Ceph's failed; `number` is its exit code, which is an errno where it knows one."""

    def __init__(self, why: str, *, for_owner: str = "", number: int = 0) -> None:
        super().__init__(why, for_owner=for_owner)
        self.number = number


@dataclass(frozen=True, slots=True)
class CephClient:
    """One pool, as its user."""

    pool: CephPool

    @property
    def keyring(self) -> Path:
        """Where the user's key is."""
        return CONF.with_name(f"ceph.client.{self.pool.user}.keyring")

    def missing(self) -> Path | None:
        """The first file that a host of the cluster has, and this one does not."""
        return next((path for path in (CONF, self.keyring) if not path.exists()), None)

    def room_gib(self) -> int:
        """Say what is free in the pool, and what is taken already; HypervisorError when nobody answers, or there is no such pool."""
        try:
            every = msgspec.json.decode(self.ceph("df", "--format=json"), type=Df).pools
        except CephRefused as refusal:
            raise HypervisorError(f"Ceph does not answer: {refusal}") from refusal
        for pool in every:
            if pool.name == self.pool.name:
                return (pool.stats.stored + pool.stats.max_avail) // GIB
        raise HypervisorError(f"Ceph has no pool {self.pool.name!r}")

    def rbd(self, *words: str) -> str:
        """Run `rbd`; CephRefused."""
        return self._run("rbd", "--pool", self.pool.name, *PATIENCE, *words)

    def ceph(self, *words: str) -> str:
        """Run `ceph`; CephRefused."""
        return self._run("ceph", "--connect-timeout=5", *words)

    def _run(self, program: str, *words: str) -> str:
        argv = (program, "--conf", str(CONF), "--id", self.pool.user, *words)
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=SECONDS)
        except FileNotFoundError as missing:
            raise HypervisorError(f"the host has no {program}: install ceph-common") from missing
        except subprocess.TimeoutExpired as late:
            raise HypervisorError(f"{program} {words[-1]} has not ended after {SECONDS} s") from late
        if done.returncode != 0:
            raise CephRefused(own_words(done.stderr) or f"{program} failed", number=done.returncode)
        return done.stdout


@contextmanager
def fine(*numbers: int) -> Iterator[None]:
    """Leave the block quietly when Ceph refuses with one of these errnos."""
    try:
        yield
    except CephRefused as refusal:
        if refusal.number not in numbers:
            raise


def own_words(stderr: str) -> str:
    """What a program of Ceph's says itself, without its library's log."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip() and not LOG_LINE.match(line)]
    return "; ".join(lines)
