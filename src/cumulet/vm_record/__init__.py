"""A VM as others see it: its row, its states, what it accepts in each, and how it is found.

It lies below the slices whose verbs a VM takes part in: disks, private images, security groups.
"""

from cumulet.vm_record.accepts import AT_REST, Verb, accept, accepts
from cumulet.vm_record.find import find_vm, find_vm_to_change
from cumulet.vm_record.model import Vm
from cumulet.vm_record.users import refuse_used
from cumulet.vm_record.wire import SshKeySource, VmState

__all__ = [
    "AT_REST",
    "SshKeySource",
    "Verb",
    "Vm",
    "VmState",
    "accept",
    "accepts",
    "find_vm",
    "find_vm_to_change",
    "refuse_used",
]
