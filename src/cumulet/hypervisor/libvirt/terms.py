"""The terms of VMs that changed their host: a small file each, which outlives the machine and whatever starts machines.

Whoever starts a machine holds its file locked meanwhile: a higher term is kept before or after that, never during it.
Directories that hosts share have the terms too: a host that never heard of a later one meets it there, beside the disks.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

from cumulet.hypervisor import OlderTerm
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
        for path in places(paths, vm_id):
            if read(path) < term:
                write_whole(path, str(term).encode())


def check(paths: HostPaths, vm_id: UUID, term: int) -> None:
    """Return when no higher term is kept; OlderTerm otherwise."""
    kept = max(map(read, places(paths, vm_id)))
    if term < kept:
        raise OlderTerm(f"VM {vm_id} is in term {kept}, not {term} any more")


def directories(paths: HostPaths) -> list[Path]:
    """Where terms are kept that this host knows of."""
    return [paths.terms, *(pool.terms for pool in paths.pools.usable() if pool.shared)]


def places(paths: HostPaths, vm_id: UUID) -> list[Path]:
    """Where a VM's term is kept."""
    return [directory / paths.term(vm_id).name for directory in directories(paths)]


def read(path: Path) -> int:
    """Read a kept term; 0 when there is none."""
    try:
        return int(path.read_bytes())
    except FileNotFoundError:
        return 0


def kept_terms(paths: HostPaths) -> Mapping[UUID, int]:
    """All terms that are kept."""
    known = {id for directory in directories(paths) for id in ids_in(directory, ".term")}
    found = {id: max(map(read, places(paths, id))) for id in known}
    return {id: term for id, term in found.items() if term}


def forget(paths: HostPaths, vm_id: UUID) -> None:
    """Forget a VM's term."""
    for path in places(paths, vm_id):
        path.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, exclusive: bool) -> Iterator[None]:
    """Hold a lock file, with others or alone."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
    finally:
        os.close(descriptor)
