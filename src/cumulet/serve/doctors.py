"""Which doctor looks at which host: that of this process, or the one of a helper that a line leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cumulet.doctor import calls
from cumulet.doctor.calls import Finding
from cumulet.hosts import list_hosts
from cumulet.hypervisor import HostUnreachable
from cumulet.line.far_host import FarHost
from cumulet.line.wire import DATA_DIR, PACKAGES
from cumulet.reconcile import Run
from cumulet.serve.doors import FAR
from cumulet.settings import Settings
from cumulet.vms import Backends


def examine(run: Run, backends: Backends, settings: Settings) -> Sequence[Finding]:
    """Give all that a host's doctor finds there; HostUnreachable. Made-up hosts have none."""
    host = backends.host(run.id)
    with run.reading() as db:
        row = next((one for one in list_hosts(db) if one.id == run.id), None)
    if row is None:
        raise HostUnreachable("it was removed")
    if settings.is_made_up:
        return ()
    data_center = backends.fabrics.catalogue.find_data_center(row.data_center_id)
    is_far = row.uri.startswith(FAR)
    doctor: Any = host.doctor if isinstance(host, FarHost) else calls
    found: Sequence[Finding] = doctor.examine(
        DATA_DIR if is_far else settings.data_dir,
        packages=PACKAGES if is_far else (),
        pools={id: path for id, path in data_center.pool_paths.items() if path},
        ceph=data_center.ceph_pools,
    )
    return found
