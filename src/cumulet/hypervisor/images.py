"""Images on a host: copies for disks to be based on, and images captured of disks."""

from __future__ import annotations

import enum
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ImageName:
    """A public or private image as machines refer to it."""

    sha256: str
    format: str
    """`qcow2` or `raw`."""


@dataclass(frozen=True, slots=True)
class BaseImage:
    """A public or private image as disks refer to it: known by its content."""

    sha256: str
    format: str
    """`qcow2` or `raw`."""
    path: Path
    """Where the image store on the machine that Cumulet runs on holds the file; an empty path when it does no more."""
    size_gib: int


@dataclass(frozen=True, slots=True)
class ImageCopy:
    """The state of an image's copy on a host."""

    ready: bool
    fraction: float
    """0.0 to 1.0: how much of it is there."""
    error: str = ""
    """Why the last attempt ended; the next `copy` starts again."""


class TakenFrom(enum.Enum):
    """In which state a disk was when an image was taken of it."""

    STOPPED = "STOPPED"
    """Its machine was off."""
    FROZEN = "FROZEN"
    """Its machine ran, and the guest held its file systems still for that moment."""
    RUNNING = "RUNNING"
    """Its machine ran, and the guest knew nothing: what it holds is what a crash would have left."""


@dataclass(frozen=True, slots=True)
class ImageOrder:
    """An image that is to be taken of a machine's boot disk."""

    image_id: UUID
    disk_id: UUID
    vm_id: UUID
    """The VM whose machine has the disk."""
    target: Path
    """Where the whole image is to lie, on the machine that Cumulet runs on; always a qcow2 file."""


@dataclass(frozen=True, slots=True)
class ImageCapture:
    """How far the capture of an image is."""

    fraction: float
    """0.0 to 1.0: how much of it is copied."""
    taken_from: TakenFrom | None = None
    """None until the image is whole."""
    sha256: str = ""
    """Of the file at the target, once it is whole."""
    error: str = ""
    """Why the last attempt ended; the next `capture` starts again."""


class Images(Protocol):
    """Images on one host."""

    def copy(self, image: BaseImage, pool: str = "") -> ImageCopy:
        """Begin (or find) the copy of an image for disks in a pool and return at once with its progress.

        A pool that hosts share has one for all of them; other disks are based on the host's own.
        """

    def copies(self, pool: str | None = None) -> dict[str, int]:
        """The complete copies that the host sees, or only those for disks in a pool: their digests, and the bytes that each takes."""

    def send_copy(self, sha256: str) -> socket.socket:
        """Open a line that gives a complete copy, as `hypervisor.content` says; HypervisorError when there is none."""

    def receive_copy(self, image: BaseImage, pool: str = "") -> socket.socket:
        """Open a line that takes a copy as another host's `send_copy` gives it, for disks in a pool.

        It answers once that is a copy here, found to have the image's checksum; the image's path is of no use to it.
        """

    def remove_copy(self, sha256: str) -> None:
        """Remove a copy; HypervisorError while a disk is based on it."""

    def capture(self, order: ImageOrder) -> ImageCapture:
        """Begin (or find) the capture of an image and return at once with its progress.

        A machine that runs goes on running; one that ends meanwhile has the image captured anew of what it left.
        """

    def captures(self) -> frozenset[UUID]:
        """Images of which the host still keeps something of their capture."""

    def forget_capture(self, image_id: UUID) -> bool:
        """End the capture of an image if it is under way, and forget it; the image at its target stays.

        Returns at once, with False as long as the copy has not ended or a guest that holds still does not go on yet.
        """
