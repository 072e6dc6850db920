"""May it end, or be less? What keeps a VM as it is, whatever state it is in."""

from __future__ import annotations

from datetime import datetime

from cumulet.errors import Refused
from cumulet.resource import Wanted, protected
from cumulet.vm_record.model import Vm


def accept_end(vm: Vm, at: datetime) -> None:
    """Return when a VM may be terminated then; Refused (code 9) otherwise."""
    if vm.deletion_protection:
        raise protected(vm, "lift its deletionProtection first")
    accept_less(vm, "terminate", at)


def accept_less(vm: Vm, what: str, at: datetime) -> None:
    """Return when a VM may be made less then than its owner committed to; Refused (code 9) otherwise."""
    if vm.is_committed(at):
        until = f"{vm.commitment_end_time:%Y-%m-%d %H:%M:%S} UTC"
        message = f"cannot {what} VM {vm.name!r}: its commitment ends at {until}"
        raise Refused(message, reason="VM_COMMITTED", subject=vm.name)


def accept_room(vm: Vm) -> None:
    """Return when a VM has room on a host; Refused (code 9) while it waits for some."""
    if vm.waits_until is not None:
        raise Refused(f"VM {vm.name!r} has no room yet", reason="VM_NOT_READY", subject=vm.name)


def accept_stay(vm: Vm) -> None:
    """Return when something about a VM's end can be decided; Refused (code 9) once that was requested."""
    if vm.wanted is Wanted.DELETED:
        raise Refused(f"VM {vm.name!r} is already being terminated", reason="VM_NOT_READY", subject=vm.name)
