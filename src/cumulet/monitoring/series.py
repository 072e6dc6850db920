"""From counters to a series: pure. Samples keep what libvirt counts; rates are worked out when somebody looks.

So a sample is taken without knowing the one before, by whichever server is at it, and thinning needs no arithmetic.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from cumulet.hypervisor import Stats
from cumulet.monitoring.wire import VmMonitoringItem

STEP: Final = 30
"""Seconds between two samples."""
QUARTER: Final = 900
FORMAT: Final = struct.Struct("<I8QHH")
GAP: Final = 2.5
"""Between samples this many times further apart than usual, nothing is known: the machine was off, or nobody looked."""
LONGEST_PING_MS: Final = 65_535


class Sample(NamedTuple):
    """What a machine had used at one moment, in the order in which it is packed."""

    at: int
    """Unix seconds."""
    cpu_us: int
    memory_bytes: int
    read_bytes: int
    read_requests: int
    written_bytes: int
    write_requests: int
    received_bytes: int
    sent_bytes: int
    vcpus: int
    ping_ms: int
    """How long the guest's agent took to answer, at least 1; 0 when it did not."""


def sample_of(stats: Stats, *, at: int, vcpus: int, ping_ms: float | None) -> Sample:
    """Take down what a host says of a machine."""
    return Sample(
        at=at,
        cpu_us=int(stats.cpu_seconds * 1e6),
        memory_bytes=stats.memory_bytes,
        read_bytes=stats.read_bytes,
        read_requests=stats.read_requests,
        written_bytes=stats.written_bytes,
        write_requests=stats.write_requests,
        received_bytes=stats.received_bytes,
        sent_bytes=stats.sent_bytes,
        vcpus=vcpus,
        ping_ms=0 if ping_ms is None else min(max(round(ping_ms), 1), LONGEST_PING_MS),
    )


def unpack(packed: bytes) -> Iterator[Sample]:
    """Give the samples of a row."""
    return map(Sample._make, FORMAT.iter_unpack(packed))


def last_of(packed: bytes) -> bytes:
    """Give the last sample of a row, packed."""
    return packed[-FORMAT.size :]


def series(samples: Iterable[tuple[Sample, int]]) -> list[VmMonitoringItem]:
    """Work out the rates between samples, each given with the seconds that usually lie between it and the one before."""
    return [
        item_between(before, after)
        for (before, _), (after, usual) in pairwise(samples)
        if 0 < after.at - before.at <= usual * GAP
    ]


def item_between(before: Sample, after: Sample) -> VmMonitoringItem:
    """Work out what happened a second; of a machine that started anew in between, what it did since."""
    since = ZERO if after.cpu_us < before.cpu_us else before
    seconds = after.at - before.at
    return VmMonitoringItem(
        cpu=round((after.cpu_us - since.cpu_us) / (seconds * after.vcpus * 10_000), 2),
        memory=str(after.memory_bytes),
        disk_rd_bytes=rate(after.read_bytes - since.read_bytes, seconds),
        disk_rd_iops=rate(after.read_requests - since.read_requests, seconds),
        disk_wr_bytes=rate(after.written_bytes - since.written_bytes, seconds),
        disk_wr_iops=rate(after.write_requests - since.write_requests, seconds),
        net_rx=rate(after.received_bytes - since.received_bytes, seconds),
        net_tx=rate(after.sent_bytes - since.sent_bytes, seconds),
        timestamp=str(after.at),
        guest_ping=str(after.ping_ms),
    )


def rate(counted: int, seconds: int) -> str:
    """Write so many a second; never below nothing, though a device that was unplugged takes its count along."""
    return str(max(counted, 0) // seconds)


ZERO: Final = Sample(*(0 for _ in Sample._fields))
