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
from cumulet.vms.accepts import Verb, accept, accepts
from cumulet.vms.model import Vm, Wanted
from cumulet.vms.offers import weigh_vcpus
from cumulet.vms.operations import find_vm
from cumulet.vms.reconcile import World, reconcile_vm
from cumulet.vms.sweep import Sweeper
from cumulet.vms.wire import VmState

__all__ = [
    "Sweeper",
    "Verb",
    "Vm",
    "VmState",
    "Wanted",
    "World",
    "accept",
    "accepts",
    "change_operations",
    "disk_operations",
    "find_vm",
    "group_operations",
    "image_operations",
    "offers",
    "operations",
    "reach",
    "reconcile_vm",
    "snapshot_operations",
    "weigh_vcpus",
]
