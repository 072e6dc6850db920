"""Virtual machines: the slice that everything else is there for."""

from cumulet.vms import disk_operations, offers, operations, snapshot_operations
from cumulet.vms.model import Vm, Wanted
from cumulet.vms.reconcile import World, reconcile_vm
from cumulet.vms.sweep import Sweeper

__all__ = [
    "Sweeper",
    "Vm",
    "Wanted",
    "World",
    "disk_operations",
    "offers",
    "operations",
    "reconcile_vm",
    "snapshot_operations",
]
