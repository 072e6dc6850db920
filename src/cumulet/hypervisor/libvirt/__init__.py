"""Real hosts: libvirt and QEMU behind the boundary. Nothing above knows of domains, volumes, pools or XML."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

import structlog

from cumulet.errors import Invalid
from cumulet.hypervisor import CephPool
from cumulet.hypervisor.libvirt.copies import CopiesByPool
from cumulet.hypervisor.libvirt.host import LibvirtHypervisor
from cumulet.hypervisor.libvirt.numa import read_nodes
from cumulet.hypervisor.libvirt.paths import HostPaths, name_of
from cumulet.hypervisor.libvirt.pools import NO_CEPH, place_pools

__all__ = ["LibvirtHypervisor", "open_host"]

log = structlog.get_logger()

LOCAL_URIS = frozenset({"qemu:///system"})


def open_host(
    uri: str,
    *,
    installation: str,
    state_dir: Path,
    pools: Mapping[str, Path | None],
    shared: AbstractSet[str] = frozenset(),
    ceph: Mapping[str, CephPool] = NO_CEPH,
    kvm_works: bool,
    userspace_datapath: bool,
) -> LibvirtHypervisor:
    """Open this machine as a host, with disks, seeds and logs under `state_dir`; connects at the first verb.

    `pools` says by disk pool where its file system is mounted; None for the one under `state_dir`; `shared` are
    those that it has together with other hosts; `ceph` are further ones, and where in Ceph they lie.

    Invalid when `uri` is another machine's; HypervisorError when QEMU's user could not get to `state_dir`.
    """
    if uri not in LOCAL_URIS:
        raise Invalid.field(
            "CUMULET_HYPERVISOR", uri, "qemu:///system, or memory: for a host that is not there"
        )
    paths = HostPaths(
        installation=installation,
        root=state_dir,
        pools=place_pools(pools, root=state_dir, name=name_of(installation), shared=shared, ceph=ceph),
        kvm=kvm_works,
        userspace_datapath=userspace_datapath,
        nodes=read_nodes() if kvm_works else (),
    )
    paths.make_directories()
    for copies in CopiesByPool(paths).every():
        copies.remove_abandoned()
    problems = (*paths.pools.problems().values(), *(pool.problem() for pool in paths.pools.ceph))
    for problem in filter(None, problems):
        log.warning("a disk pool has no room and its disks are not there", problem=problem)
    return LibvirtHypervisor(uri, paths)
