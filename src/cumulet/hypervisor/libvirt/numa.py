"""NUMA nodes: those of a host, and those of a guest that is to find its GPUs, memory and vCPUs as close as they are there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cumulet.hypervisor import DomainSpec

NODES: Final = Path("/sys/devices/system/node")
MIB_PER_GIB: Final = 1024


@dataclass(frozen=True, slots=True)
class NumaNode:
    """A node of the host's."""

    number: int
    cpus: str
    """As the kernel lists them: `0-31,64-95`."""


@dataclass(frozen=True, slots=True)
class GuestNode:
    """A node of a guest's, which is all on one of its host's."""

    host: NumaNode
    vcpus: range
    memory_mib: int


def read_nodes(nodes: Path = NODES) -> tuple[NumaNode, ...]:
    """Read the host's nodes that have processors; nothing where there is no more than one, so that all is close."""
    found = (
        (int(folder.name.removeprefix("node")), (folder / "cpulist").read_text().strip())
        for folder in nodes.glob("node*")
        if re.fullmatch(r"node\d+", folder.name)
    )
    known = tuple(NumaNode(number, cpus) for number, cpus in sorted(found) if cpus)
    return known if len(known) > 1 else ()


def guest_nodes(spec: DomainSpec, nodes: Sequence[NumaNode]) -> tuple[GuestNode, ...]:
    """Share a guest out among the nodes that its GPUs are on; nothing where that is unknown or no even share is whole.

    A guest's socket is on one node, as its kernel expects.
    """
    wanted = {gpu.numa_node for gpu in spec.gpus}
    near = [node for node in nodes if node.number in wanted]
    sockets = spec.topology.sockets if spec.topology else spec.vcpus
    gib = spec.memory_mib // MIB_PER_GIB
    if not near or sockets % len(near) or gib < len(near):
        return ()
    share = spec.vcpus // len(near)
    return tuple(
        GuestNode(
            host=node,
            vcpus=range(number * share, (number + 1) * share),
            memory_mib=MIB_PER_GIB * (gib // len(near) + (number < gib % len(near))),
        )
        for number, node in enumerate(near)
    )
