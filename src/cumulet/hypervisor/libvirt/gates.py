"""The unix sockets that a machine's move goes over: libvirtd's, its memory's and its disks'.

On the host that it leaves they are gates of ours, where libvirtd and its QEMU connect; on the other one they are
libvirtd's own and QEMU's. They have names that AppArmor's profile of a domain lets its QEMU use.
"""

from __future__ import annotations

import os
import select
import socket
from contextlib import suppress
from pathlib import Path
from threading import Lock, Thread
from typing import Final
from uuid import UUID

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.streams import join

FOLDER: Final = Path("/run/libvirt/cumulet")
QEMUS_HOME: Final = Path("/var/lib/libvirt/qemu")
"""Belongs to the user that QEMU runs as."""
LIBVIRTD: Final = "c"
MEMORY: Final = "m"
DISKS: Final = "d"
WAYS: Final = (LIBVIRTD, MEMORY, DISKS)
DAEMON_SOCKETS: Final = (Path("/run/libvirt/virtqemud-sock"), Path("/run/libvirt/libvirt-sock"))


def gate_path(paths: HostPaths, vm_id: UUID, way: str) -> Path:
    """Place a machine's gate."""
    return FOLDER / f"{way}.tunnelmigrate.dest.{paths.domain_name(vm_id)}"


def make_folder() -> tuple[int, int]:
    """Make the folder where QEMU may make sockets of its own, and say who QEMU is."""
    home = QEMUS_HOME.stat()
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    os.chown(FOLDER, home.st_uid, home.st_gid)
    return home.st_uid, home.st_gid


def clear_gates(paths: HostPaths, vm_id: UUID) -> None:
    """Remove sockets that an earlier move of a machine left."""
    make_folder()
    for way in WAYS:
        gate_path(paths, vm_id, way).unlink(missing_ok=True)


def connect(paths: HostPaths, vm_id: UUID, way: str) -> socket.socket:
    """Connect to where a coming machine is taken in."""
    place = next(filter(Path.exists, DAEMON_SOCKETS)) if way == LIBVIRTD else gate_path(paths, vm_id, way)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(place))
    except OSError as error:
        link.close()
        raise HypervisorError(f"nobody takes VM {vm_id} in at {place}: {error}") from error
    return link


class Gates:
    """The gates of one machine that is to leave."""

    def __init__(self, paths: HostPaths, vm_id: UUID) -> None:
        owner = make_folder()
        self._listeners: dict[socket.socket, str] = {}
        for way in WAYS:
            place = gate_path(paths, vm_id, way)
            place.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(place))
            listener.listen()
            os.chown(place, *owner)
            self._listeners[listener] = way
        self._knock, self._closing = socket.socketpair()
        self._lock = Lock()

    def open(self) -> socket.socket:
        """Open a line that waits for the next connection."""
        ours, theirs = socket.socketpair()
        Thread(target=self._wait, args=(ours,), name="gate", daemon=True).start()
        return theirs

    def close(self) -> None:
        """Let nobody in any more; what has passed goes on."""
        with suppress(OSError):
            self._knock.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for listener in self._listeners:
                Path(listener.getsockname()).unlink(missing_ok=True)
                listener.close()
            self._listeners.clear()

    def _wait(self, ours: socket.socket) -> None:
        try:
            passed, way = self._accept(ours)
            if passed is None:
                ours.close()
                return
            ours.sendall(way.encode())
        except OSError:
            ours.close()
            return
        join(ours, passed)

    def _accept(self, ours: socket.socket) -> tuple[socket.socket | None, str]:
        """Wait for a connection; None when there will be none, or nobody waits for it any more."""
        with self._lock:
            ready, _, _ = select.select((*self._listeners, self._closing, ours), (), ())
            if self._closing in ready or ours in ready:
                return None, ""
            return ready[0].accept()[0], self._listeners[ready[0]]
