"""Serial consoles, each as a socket that anybody can carry further.

It comes as a stream within libvirt's connection, and a pump carries it from there to a socket:

    guest ──▶ pty ──▶ libvirtd ──▶ stream ──▶ pump (in libvirt's event loop) ──▶ socket ──▶ bridge
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final
from uuid import UUID

import libvirt

from cumulet.hypervisor.libvirt.connection import notice_silence
from cumulet.hypervisor.libvirt.domains import find_domain, needs_power

CHUNK: Final = 64 * 1024
NOTHING_NOW: Final = -2
"""What libvirt answers in the place of bytes when there are none at the moment."""
MOST_HELD: Final = 1024 * 1024
"""Bytes of a console that wait for its viewer: a minute and a half of what a serial port prints."""
ALWAYS: Final[int] = (
    libvirt.VIR_STREAM_EVENT_READABLE | libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP
)
BROKEN: Final[int] = libvirt.VIR_STREAM_EVENT_ERROR | libvirt.VIR_STREAM_EVENT_HANGUP
GONE: Final[int] = libvirt.VIR_EVENT_HANDLE_ERROR | libvirt.VIR_EVENT_HANDLE_HANGUP


class SerialLines:
    """The serial consoles that are open: libvirt tells no stream that the link it runs on has died."""

    def __init__(self) -> None:
        self._links: dict[Pump, libvirt.virConnect] = {}

    def prepare(self, link: libvirt.virConnect) -> None:
        """Let a newly opened link take its lines along when it dies."""
        notice_silence(link)
        link.registerCloseCallback(self._on_close, None)

    def open(self, link: libvirt.virConnect, vm_id: UUID) -> socket.socket:
        """Take a serial console over from whoever has it, and begin to pump it."""
        domain = find_domain(link, vm_id)
        stream = link.newStream(libvirt.VIR_STREAM_NONBLOCK)
        with needs_power(vm_id):
            domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
        near, far = socket.socketpair()
        pump = Pump(stream, far, ended=self._links.pop)
        self._links[pump] = link
        try:
            pump.start()
        except libvirt.libvirtError:
            pump.end()
            near.close()
            raise
        return near

    def close(self) -> None:
        """End all lines."""
        for pump in list(self._links):
            pump.end()

    def _on_close(self, dead: libvirt.virConnect, _reason: int, _: object) -> None:
        for pump, link in list(self._links.items()):
            if link is dead:
                pump.end()


class Pump:
    """Carries one serial console between its stream and a socket, in the thread of libvirt's event loop.

    The guest is always read, for it would wait with its work for a console that is not; what its viewer has not taken
    yet is held, up to a limit at which the viewer is let go. The viewer is read only when the guest has taken it all.
    """

    def __init__(
        self, stream: libvirt.virStream, far: socket.socket, *, ended: Callable[[Pump], object]
    ) -> None:
        far.settimeout(0)
        self._notify_end = ended
        self._stream = stream
        self._far = far
        self._to_viewer = bytearray()
        self._to_guest = b""
        self._ended = False
        self._lock = threading.RLock()
        self._watch: int | None = None

    def start(self) -> None:
        """Begin; from then on the event loop keeps it."""
        with self._lock:
            self._stream.eventAddCallback(self._stream_events(), self._on_stream, None)
            self._watch = libvirt.virEventAddHandle(
                self._far.fileno(), self._far_events(), self._on_far, None
            )

    def end(self) -> None:
        """End it from outside."""
        with self._lock:
            self._end()

    def _on_stream(self, _stream: libvirt.virStream, events: int, _: object) -> None:
        with self._lock, self._ending_when_broken():
            if events & libvirt.VIR_STREAM_EVENT_READABLE:
                self._read_stream()
            if events & libvirt.VIR_STREAM_EVENT_WRITABLE:
                self._write_stream()
            if events & BROKEN:
                self._end()
            self._listen()

    def _on_far(self, _watch: int, _fd: int, events: int, _: object) -> None:
        with self._lock, self._ending_when_broken():
            if events & libvirt.VIR_EVENT_HANDLE_WRITABLE:
                self._write_far()
            if events & libvirt.VIR_EVENT_HANDLE_READABLE:
                self._read_far()
            if events & GONE:
                self._end()
            self._listen()

    def _read_stream(self) -> None:
        data = b"" if self._ended else self._stream.recv(CHUNK)
        if data == NOTHING_NOW:
            return
        if not data:
            self._end()
        else:
            self._to_viewer += data
            self._write_far()

    def _write_far(self) -> None:
        with contextlib.suppress(BlockingIOError):
            del self._to_viewer[: self._far.send(self._to_viewer)]
        if len(self._to_viewer) > MOST_HELD:
            self._end()

    def _read_far(self) -> None:
        data = self._far.recv(CHUNK)
        if not data:
            self._end()
        else:
            self._to_guest = data
            self._write_stream()

    def _write_stream(self) -> None:
        if self._to_guest:
            sent = self._stream.send(self._to_guest)
            self._to_guest = self._to_guest[max(sent, 0) :]

    def _stream_events(self) -> int:
        writes: int = libvirt.VIR_STREAM_EVENT_WRITABLE if self._to_guest else 0
        return ALWAYS | writes

    def _far_events(self) -> int:
        reads: int = 0 if self._to_guest else libvirt.VIR_EVENT_HANDLE_READABLE
        writes: int = libvirt.VIR_EVENT_HANDLE_WRITABLE if self._to_viewer else 0
        return reads | writes | GONE

    def _listen(self) -> None:
        if not self._ended:
            self._stream.eventUpdateCallback(self._stream_events())
            libvirt.virEventUpdateHandle(self._watch, self._far_events())

    @contextlib.contextmanager
    def _ending_when_broken(self) -> Iterator[None]:
        """End when a side has gone; an event that was under way then finds nothing to do."""
        if self._ended:
            yield
            return
        try:
            yield
        except (OSError, libvirt.libvirtError):
            self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = True
        self._notify_end(self)
        if self._watch is not None:
            libvirt.virEventRemoveHandle(self._watch)
        self._far.close()
        with contextlib.suppress(libvirt.libvirtError):  # it may be closed already, from the other end
            self._stream.eventRemoveCallback()
        with contextlib.suppress(libvirt.libvirtError):
            self._stream.abort()
