"""Carrying bytes from one socket to another, in both directions, until both have ended."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Final

CHUNK: Final = 256 * 1024


def join(one: socket.socket, other: socket.socket) -> None:
    """Carry bytes both ways until both ends have; each end is passed on, and both are closed then.

    Neither side is read faster than the other takes it.
    """
    back = threading.Thread(target=_carry, args=(other, one), name="line-stream", daemon=True)
    back.start()
    _carry(one, other)
    back.join()
    one.close()
    other.close()


def _carry(source: socket.socket, target: socket.socket) -> None:
    buffer = memoryview(bytearray(CHUNK))
    try:
        while count := source.recv_into(buffer):
            target.sendall(buffer[:count])
        target.shutdown(socket.SHUT_WR)
    except OSError:  # one side has gone: nobody is there to take, or to send, what is left
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
