"""Virtual machines: the slice that everything else is there for."""

from cumulet.vms import change_operations, commitment_operations, move_operations, offers, operations, reach
from cumulet.vms.create.room import wait_elsewhere
from cumulet.vms.offers import weigh_vcpus
from cumulet.vms.reconcile.backends import Backends
from cumulet.vms.reconcile.queue import place_waiting
from cumulet.vms.reconcile.silence import PowerFailed, PowerOff, give_up
from cumulet.vms.reconcile.sweep import Sweeper
from cumulet.vms.reconcile.vm import reconcile_vm

__all__ = [
    "Backends",
    "PowerFailed",
    "PowerOff",
    "Sweeper",
    "change_operations",
    "commitment_operations",
    "give_up",
    "move_operations",
    "offers",
    "operations",
    "place_waiting",
    "reach",
    "reconcile_vm",
    "wait_elsewhere",
    "weigh_vcpus",
]
