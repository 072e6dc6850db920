"""Hosts: the machines that run VMs, what they have and what is free."""

from cumulet.hosts.gpu_room import GpuPick, GpuRoom, NotFree
from cumulet.hosts.inventory import (
    capacities,
    capacity_with_own,
    cpu_model,
    host_routes,
    installation_id,
    list_hosts,
    move_reservation,
    note_facts,
    register_host,
    release,
    reserve,
    reserve_more_disk,
    reserved,
)
from cumulet.hosts.model import Host, HostState, Reservation
from cumulet.hosts.offered import check_pools_still_offered
from cumulet.hosts.orphans import Orphans
from cumulet.hosts.place import Capacity, Requirements, SizeLimits, place, place_disk

__all__ = [
    "Capacity",
    "GpuPick",
    "GpuRoom",
    "Host",
    "HostState",
    "NotFree",
    "Orphans",
    "Requirements",
    "Reservation",
    "SizeLimits",
    "capacities",
    "capacity_with_own",
    "check_pools_still_offered",
    "cpu_model",
    "host_routes",
    "installation_id",
    "list_hosts",
    "move_reservation",
    "note_facts",
    "place",
    "place_disk",
    "register_host",
    "release",
    "reserve",
    "reserve_more_disk",
    "reserved",
]
