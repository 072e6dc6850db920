"""Hosts: the machines that run VMs, what they have and what is free."""

from cumulet.hosts.gpu_room import GpuPick, GpuRoom, NotFree
from cumulet.hosts.inventory import (
    Away,
    Taken,
    away,
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
    reserved_by_host,
)
from cumulet.hosts.model import Host, Reservation
from cumulet.hosts.offered import check_pools_still_offered
from cumulet.hosts.orphans import Orphans
from cumulet.hosts.place import Capacity, Requirements, SizeLimits, close, has_labels, place, place_disk
from cumulet.hosts.standing import change_standing, log_host
from cumulet.hosts.state import SILENCE, HostState, HostWanted, Standing, asked, heard, lost, unheard

__all__ = [
    "SILENCE",
    "Away",
    "Capacity",
    "GpuPick",
    "GpuRoom",
    "Host",
    "HostState",
    "HostWanted",
    "NotFree",
    "Orphans",
    "Requirements",
    "Reservation",
    "SizeLimits",
    "Standing",
    "Taken",
    "asked",
    "away",
    "capacities",
    "capacity_with_own",
    "change_standing",
    "check_pools_still_offered",
    "close",
    "cpu_model",
    "has_labels",
    "heard",
    "host_routes",
    "installation_id",
    "list_hosts",
    "log_host",
    "lost",
    "move_reservation",
    "note_facts",
    "place",
    "place_disk",
    "register_host",
    "release",
    "reserve",
    "reserve_more_disk",
    "reserved",
    "reserved_by_host",
    "unheard",
]
