"""What there is of a VM anywhere: asked of libvirt, OVN, the disk and the database, never of the cloud itself."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from tests.e2e.processes import QEMU, pids_of
from tests.e2e.real_cloud import RealCloud, Vm

NVRAM = Path("/var/lib/libvirt/qemu/nvram")
"""Where libvirt keeps what a UEFI remembers."""
ROWS = (
    "select 'VM' from vm where id = ?",
    "select 'disk ' || name from disk where id = ?",
    "select 'reservation' from reservation where holder_id = ?",
    "select 'NIC ' || address from nic where id = ?",
    "select 'security group' from nic_group where nic_id = ?",
    "select 'external address ' || address from external_address where holder_id = ?",
    "select 'due ' || why || error from due where id = ?",
)


@dataclass(frozen=True)
class Parts:
    """The ids under which a VM's parts are known; noted while it is there."""

    vm: str
    disk: str
    nic: str

    @classmethod
    def of(cls, vm: Vm) -> Parts:
        (id,) = vm.cloud.column("select id from vm where name = ? and project_id = ?", vm.name, vm.project)
        (disk,) = vm.cloud.column("select boot_disk_id from vm where id = ?", id)
        (nic,) = vm.cloud.column("select id from nic where vm_id = ?", id)
        return cls(*(str(UUID(part)) for part in (id, disk, nic)))


def traces(cloud: RealCloud, parts: Parts) -> list[str]:
    """Everything of a VM that is still there."""
    return [*on_the_host(cloud, parts), *in_ovn(parts), *in_the_database(cloud, parts)]


def on_the_host(cloud: RealCloud, parts: Parts) -> list[str]:
    domains = output_of("virsh", "--quiet", "list", "--all", "--uuid").split()
    files = [path for path in (cloud.data_dir / "host").rglob("*") if path.stem in {parts.vm, parts.disk}]
    files += NVRAM.glob(f"*{parts.vm}*")
    return [
        *(f"domain {id}" for id in domains if id == parts.vm),
        *(f"process {pid}" for pid in pids_of(QEMU, parts.vm)),
        *(f"file {path}" for path in files),
    ]


def in_ovn(parts: Parts) -> list[str]:
    ports = output_of("ovn-nbctl", "--bare", "--columns=name", "list", "Logical_Switch_Port").split()
    owned = output_of("ovn-nbctl", "--bare", "--columns=external_ids", "list", "NAT").splitlines()
    plugged = output_of("ovs-vsctl", "--bare", "--columns=external_ids", "list", "Interface").splitlines()
    return [
        *(f"logical port {name}" for name in ports if name == parts.nic),
        *(f"address translation {ids}" for ids in owned if parts.nic in ids),
        *(f"plugged interface {ids}" for ids in plugged if parts.nic in ids),
    ]


def in_the_database(cloud: RealCloud, parts: Parts) -> list[str]:
    ids = [UUID(part).hex for part in (parts.vm, parts.disk, parts.nic)]
    return [f"row: {row}" for query in ROWS for id in ids for row in cloud.column(query, id)]


def output_of(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
