"""Where disks lie on a host: what those who open them are told, libvirt and QEMU's tools, and their snapshots.

libvirt keeps snapshots with a machine; ours stay with the disk.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID
from xml.etree import ElementTree as ET

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.elements import element


class Place(Protocol):
    """Where one disk lies."""

    @property
    def name(self) -> str:
        """What it is called there; a machine that has it says so in its XML."""

    @property
    def kind(self) -> str:
        """`file` or `network`, as libvirt types disks."""

    @property
    def format(self) -> str:
        """`qcow2` or `raw`."""

    @property
    def driver(self) -> Mapping[str, str]:
        """What QEMU does otherwise with it than with a file."""

    @property
    def image_opts(self) -> str:
        """How QEMU's tools are told of it, so that its format is not guessed from what a guest may have written."""

    def source(self) -> ET.Element:
        """Describe it to libvirt."""

    def take(self, snapshot_id: UUID) -> None:
        """Keep its content of now, unless there is such a snapshot; this and the next two refuse what a machine runs with."""

    def revert(self, snapshot_id: UUID) -> None:
        """Bring a snapshot's content and size back."""

    def forget(self, snapshot_id: UUID) -> None:
        """Forget a snapshot, if it is there."""

    def snapshots(self) -> frozenset[UUID]:
        """The snapshots that there are."""


@dataclass(frozen=True, slots=True)
class FilePlace:
    """A qcow2 file, with its snapshots in it; qemu-img takes its lock, so that nothing happens to one that a running machine has."""

    path: Path
    kind: str = "file"
    format: str = "qcow2"

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def driver(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    @property
    def image_opts(self) -> str:
        """The path, in QEMU's spelling."""
        return file_opts(self.path, self.format)

    def source(self) -> ET.Element:
        """The path."""
        return element("source", file=str(self.path))

    def take(self, snapshot_id: UUID) -> None:
        """Keep its content of now."""
        if snapshot_id not in self.snapshots():
            qemu_img("snapshot", "-c", str(snapshot_id), "--image-opts", self.image_opts)

    def revert(self, snapshot_id: UUID) -> None:
        """Bring a snapshot's content back."""
        qemu_img("snapshot", "-a", str(snapshot_id), "--image-opts", self.image_opts)

    def forget(self, snapshot_id: UUID) -> None:
        """Forget a snapshot, if it is there."""
        if snapshot_id in self.snapshots():
            qemu_img("snapshot", "-d", str(snapshot_id), "--image-opts", self.image_opts)

    def snapshots(self) -> frozenset[UUID]:
        """The snapshots in it; also of one in use."""
        words = ("info", "--force-share", "--output=json", "--image-opts", self.image_opts)
        info = json.loads(qemu_img(*words))
        return frozenset(UUID(snapshot["name"]) for snapshot in info.get("snapshots", ()))


def file_opts(path: Path, format: str) -> str:
    """Name a file of a format in QEMU's spelling."""
    return f"driver={format},file.driver=file,file.filename={str(path).replace(',', ',,')}"


def qemu_img(*words: str) -> str:
    """Run qemu-img; HypervisorError with its own words when it refuses."""
    done = subprocess.run(("qemu-img", *words), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HypervisorError(done.stderr.strip() or f"qemu-img {words[0]} failed")
    return done.stdout
