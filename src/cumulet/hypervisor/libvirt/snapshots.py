"""Snapshots inside a disk's own file, by qemu-img: libvirt keeps them with a machine, ours stay with the disk.

qemu-img takes the file's lock, so that nothing happens to a disk that a running machine has.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from uuid import UUID

from cumulet.hypervisor import HypervisorError


def take(disk: Path, snapshot_id: UUID) -> None:
    """Keep the disk's content of now, unless there is such a snapshot."""
    if snapshot_id not in found_in(disk):
        qemu_img("snapshot", "-c", str(snapshot_id), "--image-opts", image_opts(disk))


def revert(disk: Path, snapshot_id: UUID) -> None:
    """Bring a snapshot's content back."""
    qemu_img("snapshot", "-a", str(snapshot_id), "--image-opts", image_opts(disk))


def remove(disk: Path, snapshot_id: UUID) -> None:
    """Forget a snapshot, if it is there."""
    if snapshot_id in found_in(disk):
        qemu_img("snapshot", "-d", str(snapshot_id), "--image-opts", image_opts(disk))


def found_in(disk: Path) -> frozenset[UUID]:
    """The snapshots that a disk has; also of one in use."""
    info = json.loads(qemu_img("info", "--force-share", "--output=json", "--image-opts", image_opts(disk)))
    return frozenset(UUID(snapshot["name"]) for snapshot in info.get("snapshots", ()))


def image_opts(disk: Path) -> str:
    """Name a disk so that its format is not guessed from what a guest may have written."""
    return f"driver=qcow2,file.driver=file,file.filename={str(disk).replace(',', ',,')}"


def qemu_img(*words: str) -> str:
    """Run qemu-img; HypervisorError with its own words when it refuses."""
    done = subprocess.run(("qemu-img", *words), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise HypervisorError(done.stderr.strip() or f"qemu-img {words[0]} failed")
    return done.stdout
