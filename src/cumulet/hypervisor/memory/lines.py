"""Consoles of machines that exist only in memory: the line greets as the real one does, and then repeats what it hears."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import zlib
from typing import Final
from uuid import UUID

RFB_GREETING: Final = b"RFB 003.008\n"
WIDTH, HEIGHT = 720, 400
CHUNK: Final = 64 * 1024


class Lines:
    """The open lines of all machines of a host."""

    def __init__(self) -> None:
        self._ends: set[tuple[UUID, str, socket.socket]] = set()
        self._lock = threading.Lock()

    def open_screen(self, vm_id: UUID) -> socket.socket:
        """Open one more line to a machine's screen."""
        return self._open(vm_id, "screen", RFB_GREETING)

    def open_serial(self, vm_id: UUID) -> socket.socket:
        """Open the line to a machine's serial console; an earlier one ends."""
        self.end(vm_id, "serial")
        return self._open(vm_id, "serial", b"")

    def end(self, vm_id: UUID, *kinds: str) -> None:
        """End a machine's lines of some kinds, or all."""
        with self._lock:
            for owner, kind, far in self._ends:
                if owner == vm_id and kind in (kinds or (kind,)):
                    far.shutdown(socket.SHUT_RDWR)

    def _open(self, vm_id: UUID, kind: str, greeting: bytes) -> socket.socket:
        near, far = socket.socketpair()
        far.sendall(greeting)
        end = (vm_id, kind, far)
        with self._lock:
            self._ends.add(end)
        threading.Thread(target=self._repeat, args=(end,), name="memory-console", daemon=True).start()
        return near

    def _repeat(self, end: tuple[UUID, str, socket.socket]) -> None:
        far = end[2]
        with contextlib.suppress(OSError):
            while data := far.recv(CHUNK):
                far.sendall(data)
        with self._lock:
            self._ends.remove(end)
            far.close()


def made_up_picture(seed: int) -> bytes:
    """Draw a screen of one colour, which tells machines and their runs apart."""
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 2, 0, 0, 0)
    row = b"\0" + (seed * 2654435761 % 2**24).to_bytes(3, "big") * WIDTH
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(row * HEIGHT)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(kind, content) for kind, content in chunks)


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """Frame a part of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
