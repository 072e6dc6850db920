"""Security groups: what VMs let in and out, put in force by the fabric and by nothing else."""

from cumulet.security_groups import attach_operations, operations
from cumulet.security_groups.budget import check_budget
from cumulet.security_groups.model import SecurityGroup
from cumulet.security_groups.reconcile import all_in_force, reconcile_group, sweep_groups
from cumulet.security_groups.views import GroupsByNic, groups_by_nic
from cumulet.security_groups.wire import Rule, SecurityGroupAnswer

__all__ = [
    "GroupsByNic",
    "Rule",
    "SecurityGroup",
    "SecurityGroupAnswer",
    "all_in_force",
    "attach_operations",
    "check_budget",
    "groups_by_nic",
    "operations",
    "reconcile_group",
    "sweep_groups",
]
