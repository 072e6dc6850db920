"""Disk pools that lie in Ceph: whether this host has what leads to the cluster, and whether that answers."""

from __future__ import annotations

import stat
from typing import Final

from cumulet.doctor.findings import Finding, degraded, ok
from cumulet.hypervisor.ceph_client import CephClient
from cumulet.hypervisor.errors import HypervisorError

COST: Final = "it takes no disks, and VMs with disks in it do not start"


def ask_ceph(pool: str, client: CephClient) -> Finding:
    """Look at one pool; a cluster that does not answer is waited for a few seconds."""
    name, keyring = f"disk pool {pool}", client.keyring
    if missing := client.missing():
        cure = f"bring it from the cluster: ceph auth get client.{client.pool.user} -o {keyring}"
        return degraded(name, f"{missing} is not there", cost=COST, cure=cure)
    if keyring.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        cost = "whoever runs something on this host can read and write the disks of all VMs"
        return degraded(name, f"others may open {keyring}", cost=cost, cure=f"chmod 600 {keyring}")
    try:
        room = client.room_gib()
    except HypervisorError as problem:
        return degraded(name, problem.for_operator, cost=COST, cure="see to the cluster: ceph -s")
    return ok(name, f"{room} GiB in pool {client.pool.name!r} of Ceph")
