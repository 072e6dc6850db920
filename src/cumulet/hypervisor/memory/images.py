"""Images on a host in memory."""

from __future__ import annotations

import hashlib
import socket
from contextlib import suppress
from threading import Thread
from typing import Final
from uuid import UUID

from cumulet.faults import verb
from cumulet.hypervisor import (
    BaseImage,
    HypervisorError,
    ImageCapture,
    ImageCopy,
    ImageOrder,
    Power,
    TakenFrom,
)
from cumulet.hypervisor.content import Broken, announce, answer, read_exactly, read_length
from cumulet.hypervisor.memory.contents import write_image
from cumulet.hypervisor.memory.state import Part

GIB: Final = 1 << 30


class MemoryImages(Part):
    """What is on one host of images."""

    @verb
    def copy(self, image: BaseImage, pool: str = "") -> ImageCopy:
        """Copy a bit more of the image."""
        copies = self._contents.copies_in(pool)
        fraction = min(1.0, copies.get(image.sha256, 0.0) + self._state.copy_step)
        copies[image.sha256] = fraction
        return ImageCopy(ready=fraction == 1.0, fraction=fraction)

    @verb
    def copies(self, pool: str | None = None) -> dict[str, int]:
        """The complete copies; each takes a GiB."""
        places = self._contents.every_copies() if pool is None else [self._contents.copies_in(pool)]
        return {sha256: GIB for copies in places for sha256, fraction in copies.items() if fraction == 1.0}

    @verb
    def send_copy(self, sha256: str) -> socket.socket:
        """Give its digest, of which a copy in memory consists."""
        if sha256 not in self.copies():
            raise HypervisorError(f"image {sha256[:12]} is not on this host")
        ours, theirs = socket.socketpair()
        with ours:
            announce(ours, len(sha256))
            ours.sendall(sha256.encode())
        return theirs

    @verb
    def receive_copy(self, image: BaseImage, pool: str = "") -> socket.socket:
        """Take a digest in."""
        ours, theirs = socket.socketpair()
        Thread(target=take_in, args=(ours, image.sha256, self._contents.copies_in(pool)), daemon=True).start()
        return theirs

    @verb
    def remove_copy(self, sha256: str) -> None:
        """Remove a copy, unless a disk is based on it, or may be."""
        for pool in self._contents.unmounted:
            self._contents.check_mounted(pool)
        based = self._contents.disks_based_on(sha256)
        if based:
            raise HypervisorError(f"image {sha256[:12]} is the base of {len(based)} disks, first {based[0]}")
        for copies in self._contents.every_copies():
            copies.pop(sha256, None)

    @verb
    def capture(self, order: ImageOrder) -> ImageCapture:
        """Copy a bit more of the disk; what is whole is not taken again."""
        known = self._contents.captures.get(order.image_id, ImageCapture(0.0))
        if known.taken_from and order.target.exists():
            return known
        disk = self._contents.find_disk(order.disk_id)
        capture = ImageCapture(min(1.0, known.fraction + self._state.copy_step))
        if capture.fraction == 1.0:
            write_image(order.target, disk.content)
            sha256 = hashlib.sha256(order.target.read_bytes()).hexdigest()
            capture = ImageCapture(1.0, self._taken_from(order.vm_id), sha256)
        self._contents.captures[order.image_id] = capture
        return capture

    @verb
    def captures(self) -> frozenset[UUID]:
        """Images whose capture is not forgotten."""
        return frozenset(self._contents.captures)

    @verb
    def forget_capture(self, image_id: UUID) -> bool:
        """Forget it."""
        self._contents.captures.pop(image_id, None)
        return True

    def _taken_from(self, vm_id: UUID) -> TakenFrom:
        """Guests hold still when they are asked, unless they are deaf."""
        if self._contents.find_machine(vm_id).power is Power.OFF:
            return TakenFrom.STOPPED
        return TakenFrom.RUNNING if self._state.deaf else TakenFrom.FROZEN


def take_in(line: socket.socket, sha256: str, copies: dict[str, float]) -> None:
    """Take a copy in once it is whole, and say so: the image itself, or what another host in memory gives of it."""
    with line, suppress(Broken, OSError):  # whoever carried it has gone
        content = b"".join(read_exactly(line, read_length(line)))
        if content == sha256.encode() or hashlib.sha256(content).hexdigest() == sha256:
            copies[sha256] = 1.0
            answer(line)
        else:
            answer(line, f"what came is not image {sha256[:12]}")
