"""Hosts as their operator keeps them: looked at, labelled, cordoned, drained, given up, removed.

What a host is to all others stands in `hosts`; here is what takes a look at all that is on it.
"""

from cumulet.fleet import add_operations, central_operations, member_operations, operations
from cumulet.fleet.adding import Adder, pin_host_key
from cumulet.fleet.between import Between
from cumulet.fleet.examining import Examine, Examiner

__all__ = [
    "Adder",
    "Between",
    "Examine",
    "Examiner",
    "add_operations",
    "central_operations",
    "member_operations",
    "operations",
    "pin_host_key",
]
