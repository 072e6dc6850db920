"""The copy of its image that a VM's boot disk is based on: from the store, or from a host that has one when the store has it no more.

An image that was built anew, or removed, lives on under the VMs that were made of it: they move all the same.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from cumulet.disks import Disk
from cumulet.hypervisor import BaseImage, HypervisorError
from cumulet.hypervisor import Hypervisor as Host
from cumulet.hypervisor.carrier import Line, Lines, both
from cumulet.images.copies import hosts_with
from cumulet.reconcile import NotYet, Run
from cumulet.vm_record.model import Vm
from cumulet.vms.reconcile.backends import Backends

LOOK: Final = 0.5
"""Seconds between looks at a copy that is being made."""
NOT_COPIED: Final = "cannot be copied to the host; it will be retried, and the operator's log says why"


def ensure_image(run: Run, vm: Vm, disk: Disk, backends: Backends, *, to: UUID) -> BaseImage:
    """Have a copy of the image that a VM was planned with on a host; NotYet while it is being made."""
    host, pool = backends.host(to), disk.pool
    path = backends.images.path_of(vm.image_sha256, called=vm.image_id, private_id=disk.private_image_id)
    base = BaseImage(vm.image_sha256, vm.image_format, path or Path(), vm.image_gib)
    if path is None and base.sha256 not in host.images.copies(pool):
        what = f"image {base.sha256} to pool {pool!r} of {to}"
        over = backends.carrier.bring(what, partial(open_lines, run, vm, base, pool, host, backends))
        if over is not None:
            raise NotYet(f"copying image {vm.image_id} to the host, {over:.0%}", LOOK)
    copy = host.images.copy(base, pool)
    if copy.error:
        raise HypervisorError(copy.error, for_owner=f"image {vm.image_id} {NOT_COPIED}")
    if not copy.ready:
        raise NotYet(f"copying image {vm.image_id} to the host, {copy.fraction:.0%}", LOOK)
    return base


def open_lines(run: Run, vm: Vm, base: BaseImage, pool: str, target: Host, backends: Backends) -> Lines:
    """Open both ends of a copy's way from a host that has one."""
    return both(open_source(run, vm, backends), partial(target.images.receive_copy, base, pool))


def open_source(run: Run, vm: Vm, backends: Backends) -> Line:
    """Open the line that gives it: its own host's, from where a VM moves, or another one's that answers."""
    with run.reading() as db:
        noted = hosts_with(db, vm.image_sha256)
    for host_id in dict.fromkeys([vm.host_id, *noted]):
        with suppress(HypervisorError):
            return backends.host(host_id).images.send_copy(vm.image_sha256)
    why = f"image {vm.image_id!r} was replaced before the VM got its disk, and no host that answers has it: create the VM again"
    raise HypervisorError(why, for_owner=why)
