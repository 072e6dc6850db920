"""The JSON of monitoring, member for member as the contract has it; 64-bit integers are texts, as in all proto-JSON."""

from __future__ import annotations

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
