"""Disks on their way to another host: a disk's own file goes as it is, with the snapshots in it.

It gets its name only when it is whole, based on this host's copy of its image. A name that is there already is never
taken: a line that hung through a whole move overwrites nothing.
"""

from __future__ import annotations

import os
import socket
from contextlib import nullcontext
from pathlib import Path

from cumulet.hypervisor import DiskSpec
from cumulet.hypervisor.file_content import take_file
from cumulet.hypervisor.libvirt.image_copies import ImageCopies
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.places import FilePlace, qemu_img
from cumulet.hypervisor.libvirt.pools import make_passable


def take_disk(disk: DiskSpec, paths: HostPaths, copies: ImageCopies) -> socket.socket:
    """Open a line that takes a disk's file."""
    pool, base = paths.pools.find(disk.pool), disk.base
    make_passable(pool.directory)
    place = pool.disk(disk.id)

    def keep(part: Path) -> None:
        with copies.held(base) if base else nullcontext():
            if base:
                lay_on(part, paths.image(base, pool), base.format)
            os.link(part, place)

    with copies.held(base) if base else nullcontext():
        return take_file(place, keep)


def lay_on(disk: Path, image: Path, image_format: str) -> None:
    """Have a disk's file name this host's copy of its image."""
    qemu_img("rebase", "-u", "-F", image_format, "-b", str(image), "--image-opts", FilePlace(disk).image_opts)
