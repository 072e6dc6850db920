"""Virtual machines: the slice that everything else is there for."""

from cumulet.vms import (
    change_operations,
    disk_operations,
    group_operations,
    image_operations,
    offers,
    operations,
    reach,
    snapshot_operations,
)
from cumulet.vms.model import Vm, Wanted
from cumulet.vms.reconcile import World, reconcile_vm
from cumulet.vms.sweep import Sweeper

__all__ = [
    "Sweeper",
    "Vm",
    "Wanted",
    "World",
    "change_operations",
    "disk_operations",
    "group_operations",
    "image_operations",
    "offers",
    "operations",
    "reach",
    "reconcile_vm",
    "snapshot_operations",
]
