"""QEMU's own copy of a running machine's boot disk, as it was at one moment: whole, with nothing under it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import libvirt

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.domain_xml import BOOT_TARGET
from cumulet.hypervisor.libvirt.domains import UNDER_WAY, end_job, find_running, off_is_fine
from cumulet.hypervisor.libvirt.elements import element, render


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup; a machine has one at a time."""

    works: Connection
    vm_id: UUID
    target: Path

    def begin(self) -> bool:
        """Fix the moment and begin to copy; False when the machine does not run."""
        return self.works.call(self._begin)

    def fraction(self) -> float | None:
        """How much is copied; None when nothing is under way any more."""
        return self.works.call(self._fraction)

    def succeeded(self) -> bool:
        """Whether the last one came to its end."""
        return self.works.call(self._succeeded)

    def clear(self) -> None:
        """End one that is under way, ours or left behind, and wait until QEMU has let go of what it wrote."""
        end_job(self.works, self.vm_id)

    def _begin(self, link: libvirt.virConnect) -> bool:
        domain = find_running(link, self.vm_id)
        if domain is None:
            return False
        with off_is_fine():
            domain.backupBegin(backup_xml(self.target), None, 0)
            return True
        return False

    def _fraction(self, link: libvirt.virConnect) -> float | None:
        domain = find_running(link, self.vm_id)
        if domain is None:
            return None
        with off_is_fine():
            job = domain.jobStats()
            if job["type"] in UNDER_WAY:
                total = job.get("disk_total", 0)
                return job.get("disk_processed", 0) / total if total else 0.0
        return None

    def _succeeded(self, link: libvirt.virConnect) -> bool:
        domain = find_running(link, self.vm_id)
        if domain is None:
            return False
        with off_is_fine():
            job = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
            if job["type"] == libvirt.VIR_DOMAIN_JOB_FAILED:
                raise HypervisorError(job.get("errmsg", "QEMU could not copy the disk"))
            backup = job.get("operation") == libvirt.VIR_DOMAIN_JOB_OPERATION_BACKUP
            return bool(backup and job["type"] == libvirt.VIR_DOMAIN_JOB_COMPLETED)
        return False


def backup_xml(target: Path) -> str:
    """Describe a copy of the boot disk alone."""
    boot = element(
        "disk",
        element("target", file=str(target)),
        element("driver", type="qcow2"),
        name=BOOT_TARGET,
        backup="yes",
        type="file",
    )
    return render(element("domainbackup", element("disks", boot), mode="push"))
