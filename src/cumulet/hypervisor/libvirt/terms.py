"""The terms of VMs that changed their host: a small file each, which outlives the machine and whatever starts machines.

Whoever starts a machine holds its file locked meanwhile: a higher term is kept before or after that, never during it.
Where hosts share disks there are the terms too: a host that never heard of a later one meets it there, beside the disks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

from cumulet.hypervisor import OlderTerm
from cumulet.hypervisor.libvirt.ceph.terms import RbdTerms
from cumulet.hypervisor.libvirt.files import ids_in, write_whole
from cumulet.hypervisor.libvirt.paths import HostPaths

LOCK: Final = "lock"


@contextmanager
def in_term(paths: HostPaths, vm_id: UUID, term: int) -> Iterator[None]:
    """Keep a term of a VM, and let nobody keep a higher one until the block ends; OlderTerm when a higher one is kept."""
    with locked(paths.terms / LOCK, exclusive=False):
        check(paths, vm_id, term)
        yield


def keep(paths: HostPaths, vm_id: UUID, term: int) -> None:
    """Keep a term of a VM; OlderTerm when a higher one is kept."""
    with locked(paths.terms / LOCK, exclusive=True):
        check(paths, vm_id, term)
        for keeper in keepers(paths):
            if keeper.read(vm_id) < term:
                keeper.write(vm_id, term)


def check(paths: HostPaths, vm_id: UUID, term: int) -> None:
    """Return when no higher term is kept; OlderTerm otherwise."""
    kept = max(keeper.read(vm_id) for keeper in keepers(paths))
    if term < kept:
        raise OlderTerm(f"VM {vm_id} is in term {kept}, not {term} any more")


def keepers(paths: HostPaths) -> list[Keeper]:
    """Where terms are kept that this host knows of: its own, and beside disks that it shares."""
    shared = (DirectoryTerms(pool.terms) for pool in paths.pools.usable() if pool.shared)
    in_ceph = (RbdTerms(pool) for pool in paths.pools.ceph if not pool.problem())
    return [DirectoryTerms(paths.terms), *shared, *in_ceph]


def kept_terms(paths: HostPaths) -> Mapping[UUID, int]:
    """All terms that are kept."""
    found: dict[UUID, int] = {}
    for keeper in keepers(paths):
        for id, term in keeper.kept().items():
            found[id] = max(term, found.get(id, 0))
    return found


def forget(paths: HostPaths, vm_id: UUID) -> None:
    """Forget a VM's term."""
    for keeper in keepers(paths):
        keeper.forget(vm_id)


class Keeper(Protocol):
    """A place in which terms are kept."""

    def read(self, vm_id: UUID) -> int:
        """Read a VM's term; 0 when there is none."""

    def write(self, vm_id: UUID, term: int) -> None:
        """Keep one."""

    def forget(self, vm_id: UUID) -> None:
        """Forget one, if it is there."""

    def kept(self) -> Mapping[UUID, int]:
        """All of them."""


@dataclass(frozen=True, slots=True)
class DirectoryTerms:
    """Terms in a directory."""

    directory: Path

    def read(self, vm_id: UUID) -> int:
        """Read a kept term; 0 when there is none."""
        try:
            return int(self._place(vm_id).read_bytes())
        except FileNotFoundError:
            return 0

    def write(self, vm_id: UUID, term: int) -> None:
        """Keep a term."""
        write_whole(self._place(vm_id), str(term).encode())

    def forget(self, vm_id: UUID) -> None:
        """Forget one, if it is there."""
        self._place(vm_id).unlink(missing_ok=True)

    def kept(self) -> Mapping[UUID, int]:
        """All of them."""
        found = {id: self.read(id) for id in ids_in(self.directory, ".term")}
        return {id: term for id, term in found.items() if term}

    def _place(self, vm_id: UUID) -> Path:
        return self.directory / f"{vm_id}.term"


@contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold a lock file, with others or alone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
