"""Images taken of machines' boot disks: work of a thread, found again by the image's id in any process.

    ROOT/takings/UUID.lock     held by whoever is at it
    ROOT/takings/UUID.json     how far it is (`Record`); gone when the image is given up, which whoever is at it sees
    ROOT/takings/UUID.qcow2    the image as it grows; whole, it moves to its target

Of a machine that runs, QEMU itself copies the disk as it was at one moment, while the guest writes on. For that
moment the guest holds its file systems still, if its agent answers; before it is asked, that is written down, so that
whoever comes after a death in that moment lets the guest go on. Of a machine that is off, qemu-img copies.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from uuid import UUID

import libvirt
import msgspec

from cumulet.hypervisor import HypervisorError, ImageOrder, ImageTaking, TakenFrom
from cumulet.hypervisor.libvirt import freezing
from cumulet.hypervisor.libvirt.backup import Backup
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.domains import find_running
from cumulet.hypervisor.libvirt.files import ids_in, write_whole
from cumulet.hypervisor.libvirt.image_copies import copy_whole
from cumulet.hypervisor.libvirt.layout import HostLayout
from cumulet.hypervisor.libvirt.snapshots import described

LOOK_SECONDS: Final = 0.1
CHUNK_BYTES: Final = 4 << 20
PERCENT: Final = re.compile(rb"(\d+\.\d+)/100%")


class GivenUp(Exception):
    """Nobody wants the image any more."""


class Interrupted(Exception):
    """The machine ended, or began, under the copy: it is taken anew."""


class Record(msgspec.Struct):
    """How far the taking of an image is."""

    vm_id: UUID
    fraction: float = 0.0
    freezing: bool = False
    """The guest may hold its file systems still, and nobody may know."""
    taken_from: TakenFrom | None = None
    sha256: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Taking:
    """One image in the making, whose lock is ours."""

    order: ImageOrder
    record: Record
    part: Path
    file: Path

    def note(self) -> None:
        """Write down how far it is; GivenUp when it is wanted no more."""
        if not self.file.exists():
            raise GivenUp
        write_whole(self.file, msgspec.json.encode(self.record))

    def progress(self, fraction: float) -> None:
        """Write down how much is copied."""
        self.record.fraction = fraction
        self.note()


class ImageTakings:
    """The images that are being taken on one host."""

    def __init__(self, layout: HostLayout, works: Connection, agents: Connection) -> None:
        self._layout = layout
        self._works = works
        self._agents = agents

    def ensure(self, order: ImageOrder) -> ImageTaking:
        """Begin or find the taking; one that failed is told once and begun again with the next call."""
        lock = try_lock(self._file(order.image_id, "lock"))
        record = self._read(order.image_id) or Record(vm_id=order.vm_id)
        if lock is None:
            return ImageTaking(record.fraction)
        if record.taken_from and order.target.exists():
            lock.close()
            return ImageTaking(1.0, record.taken_from, record.sha256)
        told = record.error
        fresh = Record(vm_id=order.vm_id, freezing=record.freezing)
        write_whole(self._file(order.image_id, "json"), msgspec.json.encode(fresh))
        if told:
            lock.close()
            return ImageTaking(record.fraction, error=told)
        taking = Taking(order, fresh, self._file(order.image_id, "qcow2"), self._file(order.image_id, "json"))
        name = f"image-{order.image_id.hex[:12]}"
        threading.Thread(target=self._take, args=(taking, lock), name=name, daemon=True).start()
        return ImageTaking(0.0)

    def known(self) -> frozenset[UUID]:
        """Images of which anything is here."""
        return ids_in(self._layout.takings, ".lock")

    def forget(self, image_id: UUID) -> None:
        """Give an image up, wait until nobody is at it, and let a guest that was left frozen go on."""
        lock_file = self._file(image_id, "lock")
        if not lock_file.exists():
            return
        record = self._read(image_id)
        self._file(image_id, "json").unlink(missing_ok=True)
        with lock_file.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # whoever is at it looks ten times a second
            if record and record.freezing:
                self._thaw(record.vm_id)
            self._file(image_id, "json").unlink(missing_ok=True)
            self._file(image_id, "qcow2").unlink(missing_ok=True)
            lock_file.unlink(missing_ok=True)

    def _take(self, taking: Taking, lock: IO[bytes]) -> None:
        with lock, suppress(GivenUp):
            try:
                self._copy(taking)
            except Interrupted:
                taking.progress(0.0)
            except (HypervisorError, OSError, libvirt.libvirtError) as failure:
                taking.record.error = f"cannot copy the disk: {failure}"
                taking.note()
            except GivenUp:
                taking.part.unlink(missing_ok=True)

    def _copy(self, taking: Taking) -> None:
        record, vm_id = taking.record, taking.order.vm_id
        taking.part.unlink(missing_ok=True)
        if record.freezing:
            self._thaw(vm_id)
            record.freezing = False
        running = self._works.call(lambda link: find_running(link, vm_id)) is not None
        taken_from = self._back_up(taking) if running else self._convert(taking)
        taking.part.chmod(0o644)
        record.sha256 = digest(taking)
        move(taking.part, taking.order.target)
        record.taken_from = taken_from
        taking.progress(1.0)

    def _back_up(self, taking: Taking) -> TakenFrom:
        """Have QEMU copy the disk of a machine that runs, as it is at one moment."""
        vm_id = taking.order.vm_id
        backup = Backup(self._works, vm_id, taking.part)
        backup.clear()
        taking.record.freezing = True
        taking.note()
        try:
            frozen = self._agents.call(lambda link: freezing.freeze(link, vm_id))
            begun = backup.begin()
        finally:
            self._thaw(vm_id)
        taking.record.freezing = False
        if not begun:
            raise Interrupted
        try:
            while (fraction := backup.fraction()) is not None:
                taking.progress(fraction)
                time.sleep(LOOK_SECONDS)
        except GivenUp:
            backup.clear()
            raise
        if not backup.succeeded():
            raise Interrupted
        return TakenFrom.FROZEN if frozen else TakenFrom.RUNNING

    def _convert(self, taking: Taking) -> TakenFrom:
        """Copy the disk of a machine that is off; qemu-img dies with this process, and keeps the machine off."""
        source = described(self._layout.disk(taking.order.disk_id))
        words = ("convert", "-p", "--image-opts", "-O", "qcow2", source, str(taking.part))
        with subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", "qemu-img", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as copying:
            try:
                for fraction in percents(copying):
                    taking.progress(fraction)
            except GivenUp:
                copying.kill()
                raise
            problem = copying.stderr.read().decode(errors="replace").strip() if copying.stderr else ""
        if copying.returncode != 0:
            if self._works.call(lambda link: find_running(link, taking.order.vm_id)) is not None:
                raise Interrupted
            raise HypervisorError(problem or f"qemu-img ended with {copying.returncode}")
        return TakenFrom.STOPPED

    def _thaw(self, vm_id: UUID) -> None:
        self._agents.call(lambda link: freezing.thaw(link, vm_id))

    def _read(self, image_id: UUID) -> Record | None:
        with suppress(FileNotFoundError):
            return msgspec.json.decode(self._file(image_id, "json").read_bytes(), type=Record)
        return None

    def _file(self, image_id: UUID, suffix: str) -> Path:
        return self._layout.takings / f"{image_id}.{suffix}"


def try_lock(path: Path) -> IO[bytes] | None:
    """Take a lock that is free; None when somebody has it."""
    lock = path.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def percents(copying: subprocess.Popen[bytes]) -> Iterator[float]:
    """Tell how much qemu-img has done, as often as it says so and at least every moment."""
    if copying.stdout is None:
        return
    os.set_blocking(copying.stdout.fileno(), False)
    fraction = 0.0
    while copying.poll() is None:
        told = PERCENT.findall(copying.stdout.read() or b"")
        fraction = float(told[-1]) / 100 if told else fraction
        yield fraction
        time.sleep(LOOK_SECONDS)


def digest(taking: Taking) -> str:
    """Compute the checksum of an image, unless it is given up."""
    sha256 = hashlib.sha256()
    with taking.part.open("rb") as image:
        while chunk := image.read(CHUNK_BYTES):
            sha256.update(chunk)
        os.fsync(image.fileno())
    taking.note()
    return sha256.hexdigest()


def move(part: Path, target: Path) -> None:
    """Put a whole image where it belongs, in one step."""
    target.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    try:
        part.rename(target)
    except OSError:  # another file system
        copy_whole(part, target)
        part.unlink()
