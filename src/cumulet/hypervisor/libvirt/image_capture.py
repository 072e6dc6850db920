"""Images captured of machines' boot disks: jobs, found again by the image's id in any process.

The image grows beside the job's record; whole, it moves to its target. Of a machine that runs, QEMU itself copies the
disk as it was at one moment, while the guest writes on. For that moment the guest holds its file systems still, if
its agent answers; before it is asked, that is written down, so that whoever comes after a death in that moment lets
the guest go on. Of a machine that is off, qemu-img copies.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from uuid import UUID

from cumulet.hypervisor import HostLost, HostUnreachable, HypervisorError, ImageCapture, ImageOrder, TakenFrom
from cumulet.hypervisor.libvirt import fsfreeze
from cumulet.hypervisor.libvirt.agents import Agents
from cumulet.hypervisor.libvirt.backup import Backup
from cumulet.hypervisor.libvirt.ceph.disks import RbdDisk, find
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.conversion import convert
from cumulet.hypervisor.libvirt.domains import find_running
from cumulet.hypervisor.libvirt.files import ids_in
from cumulet.hypervisor.libvirt.image_copies import copy_whole, make_safe
from cumulet.hypervisor.libvirt.jobs import Job, Jobs, Record
from cumulet.hypervisor.libvirt.paths import HostPaths

CHUNK_BYTES: Final = 4 << 20
LOOK_SECONDS: Final = 0.05
THAW_TRIES: Final = 30
"""A guest that does not go on by then hangs: nobody waits for it any longer."""
THAW_SECONDS: Final = 1.0
"""Between two tries."""
MOST_LOSSES: Final = 3
"""How often an image is begun anew under which the host's libvirt was lost: it may be the reason."""
NOTICE_SECONDS: Final = 1.0
"""Until libvirt has noticed for certain that a machine has ended."""


class Interrupted(Exception):
    """The machine ended, or began, under the copy: it is captured anew."""


class CaptureRecord(Record, kw_only=True):
    """How far the capture of an image is; it copies the disk `source`."""

    vm_id: UUID
    freezing: bool = False
    """The guest may hold its file systems still, and nobody may know."""
    thaws: int = 0
    """How often it was asked to go on since."""
    losses: int = 0
    """How often the host's libvirt was lost under it."""
    taken_from: TakenFrom | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Capture:
    """One capture, whose job is ours."""

    order: ImageOrder
    job: Job[CaptureRecord]

    @property
    def record(self) -> CaptureRecord:
        """How far it is."""
        return self.job.record


class ImageCaptures:
    """The images that are being captured on one host."""

    def __init__(self, paths: HostPaths, works: Connection, agents: Agents) -> None:
        self._paths = paths
        self._works = works
        self._agents = agents
        self._jobs = Jobs(paths.captures, CaptureRecord, failing="cannot copy the disk")

    def ensure(self, order: ImageOrder) -> ImageCapture:
        """Begin or find the capture; one that failed is told once and begun again with the next call."""
        record = self._jobs.ensure(
            str(order.image_id),
            lambda job: self._capture(Capture(order, job)),
            fresh=partial(self._fresh, order),
            is_done=lambda record: record.taken_from is not None and order.target.exists(),
        )
        if record.error:
            return ImageCapture(record.fraction, error=record.error)
        return ImageCapture(record.fraction, record.taken_from, record.sha256)

    def known(self) -> frozenset[UUID]:
        """Images of which anything is here."""
        return ids_in(self._paths.captures, ".lock")

    def forget(self, image_id: UUID) -> bool:
        """Give an image up; False while somebody is at it still, or a guest that was left frozen does not go on."""
        return self._jobs.cancel(str(image_id), may_go=self._leaves_nothing)

    def _fresh(self, order: ImageOrder, before: CaptureRecord | None) -> CaptureRecord:
        """Make the record to begin with: a guest that was left frozen is not forgotten."""
        record = CaptureRecord(
            source=str(order.disk_id),
            part=str(self._paths.captures / f"{order.image_id}.qcow2"),
            vm_id=order.vm_id,
        )
        if before:
            record.freezing, record.thaws = before.freezing, before.thaws
            record.losses = 0 if before.error else before.losses
        return record

    def _capture(self, capture: Capture) -> None:
        """Copy; begin anew with the next call where that is no failure of the copy."""
        try:
            self._copy(capture)
        except HostLost:
            capture.record.losses += 1
            if capture.record.losses >= MOST_LOSSES:
                raise
            capture.job.progress(0.0)
        except (Interrupted, HostUnreachable):
            capture.job.progress(0.0)

    def _copy(self, capture: Capture) -> None:
        self._let_go_on(capture)
        capture.job.part.unlink(missing_ok=True)
        taken_from = self._copy_disk(capture)
        with capture.job.part.open("rb") as whole:
            make_safe(whole)
        capture.record.sha256 = digest(capture.job)
        move(capture.job.part, capture.order.target)
        capture.record.taken_from = taken_from
        capture.job.progress(1.0)

    def _copy_disk(self, capture: Capture) -> TakenFrom:
        """Copy in the way that the machine's power asks for; Interrupted when that changes under the copy."""
        runs = self._runs(capture)
        try:
            return self._back_up(capture) if runs else self._convert(capture)
        except HostLost:
            raise
        except HypervisorError:
            time.sleep(NOTICE_SECONDS)
            if self._runs(capture) is runs:
                raise
            raise Interrupted from None

    def _back_up(self, capture: Capture) -> TakenFrom:
        """Have QEMU copy the disk of a machine that runs, as it is at one moment, or Ceph keep that moment for us to copy."""
        disk = self._paths.pools.find_disk(capture.order.disk_id)
        if isinstance(disk, RbdDisk):
            return self._copy_moment(capture, disk)
        backup = Backup(self._works, capture.order.vm_id, capture.job.part)
        backup.clear()
        try:
            frozen = self._begin(capture, backup.begin)
            while (fraction := backup.fraction()) is not None:
                capture.job.progress(fraction)
                time.sleep(LOOK_SECONDS)
        finally:
            backup.clear()
        if not backup.succeeded():
            raise Interrupted
        return TakenFrom.FROZEN if frozen else TakenFrom.RUNNING

    def _copy_moment(self, capture: Capture, disk: RbdDisk) -> TakenFrom:
        disk.forget_moment()
        try:
            frozen = self._begin(capture, disk.keep_moment)
            convert(disk.moment_opts, str(capture.job.part), to="qcow2", progress=capture.job.progress)
        finally:
            disk.forget_moment()
        return TakenFrom.FROZEN if frozen else TakenFrom.RUNNING

    def _begin(self, capture: Capture, begin: Callable[[], bool]) -> bool:
        """Fix the moment while the guest holds still, if it can; says whether it did."""
        capture.record.freezing, capture.record.thaws = True, 0
        capture.job.note()
        try:
            frozen = fsfreeze.freeze(self._agents, capture.order.vm_id)
            begun = begin()
        finally:
            self._let_go_on(capture)
        if not begun:
            raise Interrupted
        return frozen

    def _let_go_on(self, capture: Capture) -> None:
        """Return when the guest goes on; with one that does not, whoever gives the image up goes on trying."""
        while not self._goes_on(capture.record):
            capture.job.note()
            time.sleep(THAW_SECONDS)

    def _goes_on(self, record: CaptureRecord) -> bool:
        """Have a guest that may hold still go on, in one try; says whether there is nothing more to do."""
        if record.freezing:
            record.thaws += 1
            thawed = fsfreeze.thaw(self._agents, record.vm_id)
            record.freezing = not thawed and record.thaws < THAW_TRIES
        return not record.freezing

    def _leaves_nothing(self, record: CaptureRecord) -> bool:
        """Have a guest go on, and Ceph forget the moment, of a capture that died; says whether there is nothing more to do."""
        pools = self._paths.pools
        in_ceph = () if pools.find_with(UUID(record.source)) else pools.ceph
        for disk in filter(None, (find(pool, UUID(record.source)) for pool in in_ceph)):
            disk.forget_moment()
        return self._goes_on(record)

    def _convert(self, capture: Capture) -> TakenFrom:
        """Copy the disk of a machine that is off; its file's lock keeps the machine off meanwhile."""
        source = self._paths.pools.find_disk(capture.order.disk_id).image_opts
        convert(source, str(capture.job.part), to="qcow2", progress=capture.job.progress)
        return TakenFrom.STOPPED

    def _runs(self, capture: Capture) -> bool:
        return self._works.call(lambda link: find_running(link, capture.order.vm_id)) is not None


def digest(job: Job[CaptureRecord]) -> str:
    """Compute the checksum of an image, unless it is cancelled."""
    sha256 = hashlib.sha256()
    with job.part.open("rb") as image:
        while chunk := image.read(CHUNK_BYTES):
            sha256.update(chunk)
            job.check()
        os.fsync(image.fileno())
    return sha256.hexdigest()


def move(part: Path, target: Path) -> None:
    """Put a whole image where it belongs, in one step."""
    target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    try:
        part.rename(target)
    except OSError:  # another file system
        copy_whole(part, target)
        part.unlink()
