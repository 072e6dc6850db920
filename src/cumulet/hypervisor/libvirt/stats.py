"""What machines have used, asked of libvirt for all of them in one call, and no more of it than is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

import libvirt

from cumulet.hypervisor import Stats
from cumulet.hypervisor.libvirt.paths import HostPaths

WANTED: Final = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
FLAGS: Final = (
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
)
"""A machine that is busy with something else holds nobody up: QEMU is not asked, and some of its numbers are missing."""
Found = Mapping[str, Any]


def read_stats(link: libvirt.virConnect, paths: HostPaths) -> Mapping[UUID, Stats]:
    """Measure our domains that run, but for those that are busy."""
    return {
        UUID(bytes=domain.UUID()): stats_of(found)
        for domain, found in link.getAllDomainStats(WANTED, FLAGS)
        if paths.is_ours(domain.name()) and is_whole(found)
    }


def is_whole(found: Found) -> bool:
    """Whether nothing is missing, which would look like a fall to 0."""
    blocks = range(found.get("block.count", 0))
    return "cpu.time" in found and all(f"block.{block}.rd.bytes" in found for block in blocks)


def stats_of(found: Found) -> Stats:
    """Read one domain's numbers."""
    return Stats(
        cpu_seconds=found["cpu.time"] / 1e9,
        memory_bytes=memory_of(found),
        read_bytes=total(found, "block", "rd.bytes"),
        read_requests=total(found, "block", "rd.reqs"),
        written_bytes=total(found, "block", "wr.bytes"),
        write_requests=total(found, "block", "wr.reqs"),
        received_bytes=total(found, "net", "rx.bytes"),
        sent_bytes=total(found, "net", "tx.bytes"),
    )


def memory_of(found: Found) -> int:
    """What the guest has in use, if its balloon driver tells; otherwise what its QEMU has."""
    available, usable = found.get("balloon.available"), found.get("balloon.usable")
    used = found.get("balloon.rss", 0) if available is None or usable is None else available - usable
    return max(int(used), 0) * 1024


def total(found: Found, kind: str, name: str) -> int:
    """Add up a number of all devices of a kind."""
    return sum(found.get(f"{kind}.{device}.{name}", 0) for device in range(found.get(f"{kind}.count", 0)))
