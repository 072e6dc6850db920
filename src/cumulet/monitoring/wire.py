"""The JSON of monitoring, member for member as the contract has it; 64-bit integers are texts, as in all proto-JSON."""

from __future__ import annotations

from datetime import datetime

from cumulet.wire import Wire


class VmMonitoringItem(Wire, kw_only=True):
    """`VMMonitoringItem`: what a VM did since the item before."""

    cpu: float
    """Percent of the time of its vCPUs: 100 when all of them are busy."""
    memory: str
    """Bytes in use: by the guest if its balloon driver tells, otherwise by its QEMU."""
    disk_rd_bytes: str
    """A second, of all disks; so are the other three of disks."""
    disk_rd_iops: str
    disk_wr_bytes: str
    disk_wr_iops: str
    net_rx: str
    """Bytes a second that the guest received, on all NICs."""
    net_tx: str
    timestamp: str
    """Unix seconds."""
    guest_ping: str
    """Milliseconds that the guest's agent took to answer, at least 1; 0 when it did not."""


class MonitorVmResponse(Wire, kw_only=True):
    """The response of MonitorVM: oldest first."""

    items: list[VmMonitoringItem]


class VmUsage(Wire, kw_only=True):
    """What a VM did last."""

    id: str
    item: VmMonitoringItem


class ListVmUsageResponse(Wire, kw_only=True):
    """Of those that run and were looked at within the last minute."""

    vms: list[VmUsage]


class Unsettled(Wire, kw_only=True):
    """Something that the cloud is at, and that failed the last time or takes longer than it may."""

    kind: str
    """`vm`, `disk`, `host`…, or one of the cloud's own works, which have neither project nor id."""
    project_id: str
    id: str
    since_time: datetime | None
    """Not settled since then."""
    overdue: bool
    """It takes longer than the ten minutes that it may."""
    failures: int
    """In a row; it is tried again by itself."""
    error: str
    """Of the last; empty when that did not fail."""
    waiting_for: str
    """What it waits for; empty for nothing."""


class ListUnsettledResponse(Wire, kw_only=True):
    """All of that, the longest first."""

    unsettled: list[Unsettled]
