"""May it end? What keeps a VM from being terminated, whatever state it is in."""

from __future__ import annotations

from cumulet.errors import Refused
from cumulet.resource import Wanted, protected
from cumulet.vm_record.model import Vm


def accept_end(vm: Vm) -> None:
    """Return when a VM may be terminated, or be given a time for that; Refused (code 9) otherwise."""
    if vm.deletion_protection:
        raise protected(vm, "lift its deletionProtection first")


def accept_stay(vm: Vm) -> None:
    """Return when something about a VM's end can be decided; Refused (code 9) once that was requested."""
    if vm.wanted is Wanted.DELETED:
        raise Refused(f"VM {vm.name!r} is already being terminated", reason="VM_NOT_READY", subject=vm.name)
