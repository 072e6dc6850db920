"""May I? What a disk accepts now; each refusal carries the contract's reason, and whether it passes with work under way."""

from __future__ import annotations

from cumulet.disks.model import Disk
from cumulet.disks.wire import DiskState, DiskType
from cumulet.errors import Refused
from cumulet.resource import Wanted, protected


def accept_attach(disk: Disk) -> None:
    """Return when a VM can have the disk; Refused (code 9) otherwise."""
    _accept_storage(disk, "attach")
    if disk.vm_id is not None:
        raise _in_use(disk, "attach", "it is attached to a VM: detach it first")
    if disk.wanted is not Wanted.KEPT or (disk.is_made and disk.state is not DiskState.READY):
        raise _not_ready(disk, "attach")


def accept_detach(disk: Disk) -> None:
    """Return when the disk can leave its VM; Refused (code 9) otherwise."""
    _accept_storage(disk, "detach")
    if disk.vm_id is None:
        raise _refused(disk, "detach", "it is attached to no VM", "DISK_NOT_IN_USE")


def accept_delete(disk: Disk) -> None:
    """Return when the disk can be deleted; Refused (code 9) otherwise."""
    if disk.type is DiskType.BOOT:
        raise _refused(disk, "delete", "it is a VM's boot disk: terminate that VM", "DISK_TYPE_INCORRECT")
    if disk.vm_id is not None:
        raise _in_use(disk, "delete", "it is attached to a VM: detach it first")
    if disk.deletion_protection:
        raise protected(disk, "lift its deletionProtection first")


def accept_protection(disk: Disk) -> None:
    """Return when a disk can be protected from deletion, or that be lifted; Refused (code 9) otherwise."""
    if disk.type is DiskType.BOOT:
        why = "it is the boot disk of a VM, and goes with it: protect that VM"
        raise _refused(disk, "protect", why, "DISK_TYPE_INCORRECT")
    if disk.wanted is Wanted.DELETED:
        raise _not_ready(disk, "protect")


def accept_change(disk: Disk, what: str) -> None:
    """Return when the disk's size or snapshots can be changed; Refused (code 9) otherwise."""
    if disk.vm_id is None and not disk.is_made:
        why = "it is empty until a VM has it for the first time: attach it to a VM first"
        raise _refused(disk, what, why, "DISK_NOT_READY")
    at_rest = DiskState.READY if disk.vm_id is None else DiskState.USED
    if disk.wanted is not Wanted.KEPT or disk.state is not at_rest:
        raise _not_ready(disk, what)


def _accept_storage(disk: Disk, verb: str) -> None:
    if disk.type is not DiskType.STORAGE:
        raise _refused(disk, verb, "it is the boot disk of a VM", "DISK_TYPE_INCORRECT")


def _in_use(disk: Disk, verb: str, why: str) -> Refused:
    leaving = disk.wanted is Wanted.DETACHED
    return _refused(disk, verb, _now(disk) if leaving else why, "DISK_IN_USE", passing=leaving)


def _not_ready(disk: Disk, verb: str) -> Refused:
    passing = disk.wanted is not Wanted.DELETED and disk.state is not DiskState.ERROR
    return _refused(disk, verb, _now(disk), "DISK_NOT_READY", passing=passing)


def _now(disk: Disk) -> str:
    if disk.wanted is Wanted.KEPT and disk.state is DiskState.CLONE:
        return "an image of it is being captured"
    now = {Wanted.DELETED: "being deleted", Wanted.DETACHED: "being detached"}
    return f"it is {now.get(disk.wanted, disk.state.value)}"


def _refused(disk: Disk, verb: str, why: str, reason: str, *, passing: bool = False) -> Refused:
    message = f"cannot {verb} disk {disk.name!r}: {why}"
    return Refused(message, reason=reason, subject=disk.name, passing=passing)
