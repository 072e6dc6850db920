"""The pages, each a function of a visit; importing them declares them."""

from cumulet.web.pages import (
    activity,
    disk_changes,
    disks,
    entry,
    find,
    group_changes,
    groups,
    images,
    keys,
    members,
    networks,
    sessions,
    vm,
    vm_changes,
    vm_create,
    vm_list,
)

__all__ = [
    "activity",
    "disk_changes",
    "disks",
    "entry",
    "find",
    "group_changes",
    "groups",
    "images",
    "keys",
    "members",
    "networks",
    "sessions",
    "vm",
    "vm_changes",
    "vm_create",
    "vm_list",
]
