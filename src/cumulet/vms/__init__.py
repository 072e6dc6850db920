"""Virtual machines: the slice that everything else is there for."""

from cumulet.vms import group_operations, offers, operations, reach
from cumulet.vms.model import Vm, Wanted
from cumulet.vms.reconcile import World, reconcile_vm
from cumulet.vms.sweep import Sweeper

__all__ = [
    "Sweeper",
    "Vm",
    "Wanted",
    "World",
    "group_operations",
    "offers",
    "operations",
    "reach",
    "reconcile_vm",
]
