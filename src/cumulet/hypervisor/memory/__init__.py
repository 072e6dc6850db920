"""A host that exists only in this process: what tests, demos and load runs use in the place of libvirt.

It obeys the same contract tests as the real one, refuses what that refuses, and costs microseconds. Beyond the
Protocol it has levers, which do to it what the world does to a host: a machine crashes, a guest powers itself off or
ignores its power button, the host is full or falls silent, a call fails before or after its effect.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from collections.abc import Set as AbstractSet
from typing import Final

from cumulet.errors import Invalid
from cumulet.hypervisor import GpuFabric
from cumulet.hypervisor.memory.contents import SharedDirectory
from cumulet.hypervisor.memory.gpus import made_up_gpus, made_up_id
from cumulet.hypervisor.memory.host import MemoryHypervisor
from cumulet.hypervisor.memory.uri import facts_of, read_query

__all__ = ["MemoryHypervisor", "gpus_of", "made_up_id", "memory_hosts"]

_shared: Final[dict[str, dict[str, MemoryHypervisor]]] = {}
_shared_lock: Final = threading.Lock()


def memory_hosts(
    uri: str, *, pools: Collection[str], shared: AbstractSet[str] = frozenset()
) -> dict[str, MemoryHypervisor]:
    """Make the hosts of a `memory:` URI, by name, each with these disk pools, some of them shared by all; Invalid names what is wrong in it.

    `memory:?hosts=100&vcpus=64&memory_gib=512&disk_gib=4096&gpus=8&gpu_model=H100` makes a hundred new ones, whose
    pools have 4096 GiB each, and with `gpu_fabric=nvswitch` or `xgmi` GPUs that are joined;
    `memory:NAME?…` answers the same hosts, with all that is on them, to everyone in this process who asks again.
    """
    if not uri.startswith("memory:"):
        raise Invalid.field("hypervisor", uri, "memory:, memory:?hosts=… or memory:NAME?hosts=…")
    if uri.removeprefix("memory:").partition("?")[0] == "":
        return _make_hosts(uri, pools, shared)
    with _shared_lock:
        if uri not in _shared:
            _shared[uri] = _make_hosts(uri, pools, shared)
        return _shared[uri]


def gpus_of(uri: str) -> tuple[str, GpuFabric]:
    """Say which GPU model the hosts of a `memory:` URI have, and what joins them; `""` for none."""
    query = read_query(uri)
    return query.gpu_model, query.gpu_fabric


def _make_hosts(uri: str, pools: Collection[str], shared: AbstractSet[str]) -> dict[str, MemoryHypervisor]:
    query = read_query(uri)
    names = [f"memory-{number}" for number in range(1, query.sizes["hosts"] + 1)]
    hosts = {name: MemoryHypervisor(facts_of(name, query.sizes, pools)) for name in names}
    directories = {pool: SharedDirectory(f"the {pool} of all") for pool in shared}
    for host in hosts.values():
        host.contents.shared |= directories
        for directory in directories.values():
            directory.users.append(host.contents)
    if query.gpu_model:
        for host in hosts.values():
            host.host_gpus = made_up_gpus(query.gpu_model, query.sizes["gpus"], query.gpu_fabric)
    return hosts
