"""Disks on their way to another host: a disk's own file goes as it is, with the snapshots in it.

It grows beside its place under a name of its own and gets its name only when it is whole, based on this host's copy of
its image. A name that is there already is never taken: a line that hung through a whole move overwrites nothing.
"""

from __future__ import annotations

import os
import secrets
import socket
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from cumulet.hypervisor import BaseImage, DiskSpec, HypervisorError
from cumulet.hypervisor.content import Broken, announce, answer, read_exactly, read_length
from cumulet.hypervisor.libvirt.image_copies import ImageCopies
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.pools import make_passable
from cumulet.hypervisor.libvirt.snapshots import image_opts, qemu_img


def give(path: Path) -> socket.socket:
    """Open a line that gives a file."""
    ours, theirs = socket.socketpair()
    file = path.open("rb")
    Thread(target=_give, args=(file, ours), name=f"give {path.name}", daemon=True).start()
    return theirs


def _give(file: BinaryIO, line: socket.socket) -> None:
    with closing(file), line, suppress(OSError):  # whoever carries it has gone
        announce(line, os.fstat(file.fileno()).st_size)
        line.sendfile(file)


def take(disk: DiskSpec, paths: HostPaths, copies: ImageCopies) -> socket.socket:
    """Open a line that takes a disk's file; what an earlier one took goes."""
    pool = paths.pools.find(disk.pool)
    make_passable(pool.directory)
    place = pool.disk(disk.id)
    for abandoned in place.parent.glob(f"{place.name}.*.part"):
        abandoned.unlink(missing_ok=True)
    with copies.held(disk.base) if disk.base else nullcontext():
        part = place.with_name(f"{place.name}.{secrets.token_hex(4)}.part")
        part.touch(mode=0o600)
    ours, theirs = socket.socketpair()
    Thread(
        target=_take,
        args=(ours, part, place, disk.base, paths, copies),
        name=f"take {place.name}",
        daemon=True,
    ).start()
    return theirs


def _take(
    line: socket.socket,
    part: Path,
    place: Path,
    base: BaseImage | None,
    paths: HostPaths,
    copies: ImageCopies,
) -> None:
    with line, suppress(OSError):  # whoever carries it has gone
        try:
            write_sparse(line, part)
            with copies.held(base) if base else nullcontext():
                if base:
                    lay_on(part, paths.image(base), base.format)
                os.link(part, place)
        except (Broken, OSError, HypervisorError) as problem:
            answer(line, f"{place.name}: {problem}")
        else:
            answer(line)
        finally:
            part.unlink(missing_ok=True)


def write_sparse(line: socket.socket, part: Path) -> None:
    """Write what comes into a file that is there, but where it is empty; Broken when it does not come whole."""
    length = read_length(line)
    with part.open("r+b") as file:
        for block in read_exactly(line, length):
            if block.count(0) == len(block):
                file.seek(len(block), os.SEEK_CUR)
            else:
                file.write(block)
        file.truncate(length)
        file.flush()
        os.fsync(file.fileno())


def lay_on(disk: Path, image: Path, image_format: str) -> None:
    """Have a disk's file name this host's copy of its image."""
    qemu_img("rebase", "-u", "-F", image_format, "-b", str(image), "--image-opts", image_opts(disk))
