"""Images taken of machines' boot disks: work of a thread, found again by the image's id in any process.

    ROOT/takings/UUID.lock       held by whoever is at it
    ROOT/takings/UUID.json       how far it is (`Record`)
    ROOT/takings/UUID.qcow2      the image as it grows; whole, it moves to its target
    ROOT/takings/UUID.unwanted   it was given up, which whoever is at it sees

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
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final
from uuid import UUID

import msgspec

from cumulet.hypervisor import HostLost, HostUnreachable, HypervisorError, ImageOrder, ImageTaking, TakenFrom
from cumulet.hypervisor.libvirt import freezing
from cumulet.hypervisor.libvirt.agents import Agents
from cumulet.hypervisor.libvirt.backup import LOOK_SECONDS, Backup
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.domains import find_running
from cumulet.hypervisor.libvirt.files import ids_in, remove, write_whole
from cumulet.hypervisor.libvirt.image_copies import copy_whole, make_safe
from cumulet.hypervisor.libvirt.layout import HostLayout
from cumulet.hypervisor.libvirt.snapshots import described

CHUNK_BYTES: Final = 4 << 20
THAW_TRIES: Final = 30
"""A guest that does not go on by then hangs: nobody waits for it any longer."""
THAW_SECONDS: Final = 1.0
"""Between two tries."""
MOST_LOSSES: Final = 3
"""How often an image is begun anew under which the host's libvirt was lost: it may be the reason."""
NOTICE_SECONDS: Final = 1.0
"""Until libvirt has noticed for certain that a machine has ended."""
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
    thaws: int = 0
    """How often it was asked to go on since."""
    losses: int = 0
    """How often the host's libvirt was lost under it."""
    taken_from: TakenFrom | None = None
    sha256: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Taking:
    """One image in the making, whose lock is ours."""

    order: ImageOrder
    record: Record
    folder: Path

    @property
    def part(self) -> Path:
        """Where the image grows."""
        return self.folder / f"{self.order.image_id}.qcow2"

    def check(self) -> None:
        """Return when the image is still wanted; GivenUp otherwise."""
        if (self.folder / f"{self.order.image_id}.unwanted").exists():
            raise GivenUp

    def note(self) -> None:
        """Write down how far it is; GivenUp when it is wanted no more."""
        self.check()
        write_record(self.folder, self.order.image_id, self.record)

    def progress(self, fraction: float) -> None:
        """Write down how much is copied."""
        self.record.fraction = fraction
        self.note()

    def fail(self, why: str) -> None:
        """Write down why it ended."""
        self.record.error = f"cannot copy the disk: {why}"
        self.note()


class ImageTakings:
    """The images that are being taken on one host."""

    def __init__(self, layout: HostLayout, works: Connection, agents: Agents) -> None:
        self._layout = layout
        self._works = works
        self._agents = agents

    def ensure(self, order: ImageOrder) -> ImageTaking:
        """Begin or find the taking; one that failed is told once and begun again with the next call."""
        lock = try_lock(self._file(order.image_id, "lock"))
        record = self._read(order.image_id) or Record(vm_id=order.vm_id)
        if lock is None:
            return ImageTaking(record.fraction)
        with ExitStack() as held:
            held.enter_context(lock)
            if record.taken_from and order.target.exists():
                return ImageTaking(1.0, record.taken_from, record.sha256)
            fresh = Record(vm_id=order.vm_id, freezing=record.freezing, thaws=record.thaws)
            if not record.error:
                fresh.losses = record.losses
            write_record(self._layout.takings, order.image_id, fresh)
            if record.error:
                return ImageTaking(record.fraction, error=record.error)
            work = (Taking(order, fresh, self._layout.takings), held.pop_all())
            name = f"image-{order.image_id.hex[:12]}"
            threading.Thread(target=self._take, args=work, name=name, daemon=True).start()
        return ImageTaking(0.0)

    def known(self) -> frozenset[UUID]:
        """Images of which anything is here."""
        return ids_in(self._layout.takings, ".lock")

    def forget(self, image_id: UUID) -> bool:
        """Give an image up; False while somebody is at it still, or a guest that was left frozen does not go on."""
        if not self._file(image_id, "lock").exists():
            return True
        lock = try_lock(self._file(image_id, "lock"))
        if lock is None:
            self._file(image_id, "unwanted").touch()
            return False
        with lock:
            record = self._read(image_id)
            if record and not self._goes_on(record):
                write_record(self._layout.takings, image_id, record)
                return False
            for suffix in ("qcow2", "json", "unwanted", "lock"):
                remove(self._file(image_id, suffix))
        return True

    def _take(self, taking: Taking, lock: ExitStack) -> None:
        """Copy, and write down how that ended; where there is no room even for that, the next call begins anew."""
        with lock, suppress(GivenUp, OSError):
            try:
                self._copy(taking)
            except HostLost as loss:
                taking.record.losses += 1
                if taking.record.losses < MOST_LOSSES:
                    taking.progress(0.0)
                else:
                    taking.fail(str(loss))
            except (Interrupted, HostUnreachable):
                taking.progress(0.0)
            except HypervisorError as failure:
                taking.fail(str(failure))
            except OSError as failure:
                taking.fail(failure.strerror or str(failure))

    def _copy(self, taking: Taking) -> None:
        self._let_go_on(taking)
        taking.part.unlink(missing_ok=True)
        try:
            taken_from = self._copy_disk(taking)
            with taking.part.open("rb") as whole:
                make_safe(whole)
            taking.record.sha256 = digest(taking)
            move(taking.part, taking.order.target)
        finally:
            taking.part.unlink(missing_ok=True)  # it may be what fills the disk
        taking.record.taken_from = taken_from
        taking.progress(1.0)

    def _copy_disk(self, taking: Taking) -> TakenFrom:
        """Copy in the way that the machine's power asks for; Interrupted when that changes under the copy."""
        runs = self._runs(taking)
        try:
            return self._back_up(taking) if runs else self._convert(taking)
        except HostLost:
            raise
        except HypervisorError:
            time.sleep(NOTICE_SECONDS)
            if self._runs(taking) is runs:
                raise
            raise Interrupted from None

    def _back_up(self, taking: Taking) -> TakenFrom:
        """Have QEMU copy the disk of a machine that runs, as it is at one moment."""
        backup = Backup(self._works, taking.order.vm_id, taking.part)
        backup.clear()
        try:
            frozen = self._begin(taking, backup)
            while (fraction := backup.fraction()) is not None:
                taking.progress(fraction)
                time.sleep(LOOK_SECONDS)
        finally:
            backup.clear()
        if not backup.succeeded():
            raise Interrupted
        return TakenFrom.FROZEN if frozen else TakenFrom.RUNNING

    def _begin(self, taking: Taking, backup: Backup) -> bool:
        """Fix the moment while the guest holds still, if it can; says whether it did."""
        taking.record.freezing, taking.record.thaws = True, 0
        taking.note()
        try:
            frozen = freezing.freeze(self._agents, taking.order.vm_id)
            begun = backup.begin()
        finally:
            self._let_go_on(taking)
        if not begun:
            raise Interrupted
        return frozen

    def _let_go_on(self, taking: Taking) -> None:
        """Return when the guest goes on; with one that does not, whoever gives the image up goes on trying."""
        while not self._goes_on(taking.record):
            taking.note()
            time.sleep(THAW_SECONDS)

    def _goes_on(self, record: Record) -> bool:
        """Have a guest that may hold still go on, in one try; says whether there is nothing more to do."""
        if record.freezing:
            record.thaws += 1
            thawed = freezing.thaw(self._agents, record.vm_id)
            record.freezing = not thawed and record.thaws < THAW_TRIES
        return not record.freezing

    def _convert(self, taking: Taking) -> TakenFrom:
        """Copy the disk of a machine that is off; qemu-img dies with this process, and keeps the machine off."""
        source = described(self._layout.pools.find_disk(taking.order.disk_id))
        words = ("convert", "-p", "--image-opts", "-O", "qcow2", source, str(taking.part))
        with subprocess.Popen(
            ("setpriv", "--pdeathsig", "KILL", "qemu-img", *words),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ) as copying:
            try:
                for fraction in percents(copying):
                    taking.progress(fraction)
            finally:
                copying.kill()
            problem = copying.stderr.read().decode(errors="replace").strip() if copying.stderr else ""
        if copying.returncode != 0:
            raise HypervisorError(problem or f"qemu-img ended with {copying.returncode}")
        return TakenFrom.STOPPED

    def _runs(self, taking: Taking) -> bool:
        return self._works.call(lambda link: find_running(link, taking.order.vm_id)) is not None

    def _read(self, image_id: UUID) -> Record | None:
        with suppress(FileNotFoundError):
            return msgspec.json.decode(self._file(image_id, "json").read_bytes(), type=Record)
        return None

    def _file(self, image_id: UUID, suffix: str) -> Path:
        return self._layout.takings / f"{image_id}.{suffix}"


def write_record(folder: Path, image_id: UUID, record: Record) -> None:
    """Write down how far a taking is."""
    write_whole(folder / f"{image_id}.json", msgspec.json.encode(record))


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
            taking.check()
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
