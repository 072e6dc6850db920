"""Consoles on a real host: screens, serial consoles, and what these have printed.

The screen is QEMU's own socket, handed over by libvirtd. It is let in without a password, for who reaches it has come
through us. Only a local connection can hand it over: on a TLS one the request fails and takes the connection along.
"""

from __future__ import annotations

import socket
from typing import Final
from uuid import UUID

import libvirt

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.libvirt.connection import Connection
from cumulet.hypervisor.libvirt.domains import find_domain, needs_power
from cumulet.hypervisor.libvirt.files import read_log, remove_log, write_whole
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.serial_lines import SerialLines

CHUNK: Final = 64 * 1024
LARGEST_PICTURE: Final = 64 * 1024 * 1024


class LibvirtConsoles:
    """Consoles on one host; `slow` carries what guests print and show, so that nothing else waits behind it."""

    def __init__(self, paths: HostPaths, reads: Connection, slow: Connection, lines: SerialLines) -> None:
        self._paths = paths
        self._reads = reads
        self._slow = slow
        self._lines = lines

    def open_screen(self, vm_id: UUID) -> socket.socket:
        """Open a line to QEMU's VNC server."""
        return self._reads.call(lambda link: open_screen(link, vm_id))

    def open_serial(self, vm_id: UUID) -> socket.socket:
        """Open the line to the serial console, taking it over."""
        return self._slow.call(lambda link: self._lines.open(link, vm_id))

    def screenshot(self, vm_id: UUID) -> bytes:
        """Take a picture of the screen."""
        return self._slow.call(lambda link: take_screenshot(link, vm_id))

    def log(self, vm_id: UUID, *, max_bytes: int) -> bytes:
        """The newest of what the guest wrote to its serial console."""
        return read_log(self._paths.console(vm_id), max_bytes)

    def bring_log(self, vm_id: UUID, content: bytes) -> None:
        """Begin the log, unless it has begun."""
        path = self._paths.console(vm_id)
        if not path.exists():
            write_whole(path, content)
        elif not path.stat().st_size:  # opened for a machine that is just coming
            with path.open("ab") as log:
                log.write(content)

    def remove_log(self, vm_id: UUID) -> None:
        """Remove the log, if it is there."""
        remove_log(self._paths.console(vm_id))


def open_screen(link: libvirt.virConnect, vm_id: UUID) -> socket.socket:
    """Get QEMU's VNC socket."""
    domain = find_domain(link, vm_id)
    with needs_power(vm_id):
        return socket.socket(fileno=domain.openGraphicsFD(0, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH))


def take_screenshot(link: libvirt.virConnect, vm_id: UUID) -> bytes:
    """Have QEMU draw its screen into a PNG."""
    domain = find_domain(link, vm_id)
    stream = link.newStream()
    with needs_power(vm_id):
        kind = domain.screenshot(stream, 0)
    picture = bytearray()
    while chunk := stream.recv(CHUNK):
        picture += chunk
        if len(picture) > LARGEST_PICTURE:
            stream.abort()
            raise HypervisorError("its screen is too large for a screenshot")
    stream.finish()
    if kind != "image/png":
        raise HypervisorError(f"the host's QEMU makes {kind}, not PNG: it is older than 7.1")
    return bytes(picture)
