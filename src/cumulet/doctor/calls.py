"""What the cloud asks of a host besides its machines: plain data in and out, so that it can be asked of one far away.

Nothing else of this package is imported from outside of it. Who calls knows none of the host's files, programs and
sockets; what is behind the calls knows nothing of the cloud, and runs where the host is.
"""

from cumulet.doctor.account import ensure_account, hand_over
from cumulet.doctor.central import Cluster, part_with
from cumulet.doctor.chassis import (
    Place,
    adopt_certificate,
    forget_earlier_names,
    open_overlay,
    propose_certificate,
    read_place,
)
from cumulet.doctor.clear import clear_host
from cumulet.doctor.daemon_specs import CENTRAL_SOCKETS
from cumulet.doctor.daemons import stop_daemons
from cumulet.doctor.examine import examine
from cumulet.doctor.findings import Finding, Level, broken, degraded
from cumulet.doctor.gpus.plan import GpuPlan, GpuWish
from cumulet.doctor.gpus.prepare import plan_gpus, prepare_gpus, undo_gpus
from cumulet.doctor.gpus.steps import StepState
from cumulet.doctor.kvm import KvmVerdict
from cumulet.doctor.near import is_near
from cumulet.doctor.overlay import NORTHBOUND_PORT, SOUTHBOUND_PORT, Certified, Overlay, Proof, find_address
from cumulet.doctor.prepare import (
    PreparedHost,
    ensure_operators_uplink,
    ensure_uplink,
    found_cluster,
    prepare_host,
)
from cumulet.doctor.resolvers import find_resolvers
from cumulet.doctor.uplink import Reach

CALLS = (
    adopt_certificate,
    clear_host,
    ensure_operators_uplink,
    ensure_uplink,
    examine,
    find_address,
    find_resolvers,
    forget_earlier_names,
    found_cluster,
    is_near,
    open_overlay,
    part_with,
    plan_gpus,
    prepare_gpus,
    prepare_host,
    propose_certificate,
    read_place,
    stop_daemons,
    undo_gpus,
)

__all__ = [
    "CALLS",
    "CENTRAL_SOCKETS",
    "NORTHBOUND_PORT",
    "SOUTHBOUND_PORT",
    "Certified",
    "Cluster",
    "Finding",
    "GpuPlan",
    "GpuWish",
    "KvmVerdict",
    "Level",
    "Overlay",
    "Place",
    "PreparedHost",
    "Proof",
    "Reach",
    "StepState",
    "adopt_certificate",
    "broken",
    "clear_host",
    "degraded",
    "ensure_account",
    "ensure_operators_uplink",
    "ensure_uplink",
    "examine",
    "find_address",
    "find_resolvers",
    "forget_earlier_names",
    "found_cluster",
    "hand_over",
    "is_near",
    "open_overlay",
    "part_with",
    "plan_gpus",
    "prepare_gpus",
    "prepare_host",
    "propose_certificate",
    "read_place",
    "stop_daemons",
    "undo_gpus",
]
