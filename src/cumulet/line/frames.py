"""What goes over a connection of the line: frames, each a kind and its content, and what data is written as.

While a call is worked on the helper sends a pulse every two seconds. Who hears nothing for six knows that the other
side, or what lies between, has gone, however quiet TCP is about it.
"""

from __future__ import annotations

import enum
import socket
import struct
import threading
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any, Final, cast

import msgspec

PULSE_SECONDS: Final = 2.0
SILENCE_SECONDS: Final = 6.0
LARGEST: Final = 128 * 1024 * 1024
"""Bytes of a frame: a screenshot has at most half of that."""
HEADER: Final = struct.Struct(">BI")
AS_TEXT: Final = (Path, IPv4Address, IPv4Interface, IPv4Network)


class Kind(enum.IntEnum):
    """What a frame is."""

    OPEN = 1
    """The first from who asks: which host is meant."""
    CALL = 2
    ANSWER = 3
    FAILURE = 4
    PULSE = 5
    TOLD = 6
    """What a call tells meanwhile."""


KINDS: Final = frozenset(Kind)


class LineBroken(Exception):
    """The other side has gone, or is silent for too long; the message says which."""


class Channel:
    """One connection that carries frames; several threads may send."""

    def __init__(self, link: socket.socket, *, seconds: float) -> None:
        """`seconds` is how long the other side may neither send nor take anything."""
        self._link = link
        self._seconds = seconds
        self._sending = threading.Lock()
        link.settimeout(seconds)

    def send(self, kind: Kind, content: bytes = b"") -> None:
        """Send a frame; LineBroken when the other side does not take it."""
        rest = memoryview(HEADER.pack(kind, len(content)) + content)
        try:
            with self._sending:
                while rest:
                    rest = rest[self._link.send(rest) :]
        except OSError as failure:
            raise self._broken(failure) from failure

    def receive(self) -> tuple[Kind, bytes]:
        """Wait for the next frame and read not a byte more; LineBroken when none comes."""
        kind, size = HEADER.unpack(self._read(HEADER.size))
        if kind not in KINDS or size > LARGEST:
            raise LineBroken("the other side speaks another language")
        return Kind(kind), self._read(size)

    def receive_whenever(self) -> tuple[Kind, bytes]:
        """Wait for the next frame for as long as it takes to come."""
        self._link.settimeout(None)
        try:
            self._link.recv(1, socket.MSG_PEEK)
        except OSError as failure:
            raise self._broken(failure) from failure
        self._link.settimeout(self._seconds)
        return self.receive()

    def into_stream(self) -> socket.socket:
        """Give up frames: what comes now is somebody's bytes, however long they take."""
        self._link.settimeout(None)
        return self._link

    def is_quiet(self) -> bool:
        """Whether the other side has neither gone nor sent anything that was not asked for."""
        self._link.settimeout(0)
        try:
            self._link.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            self._link.settimeout(self._seconds)
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def interrupt(self) -> None:
        """Wake whoever waits for a frame."""
        try:
            self._link.shutdown(socket.SHUT_RDWR)
        except OSError:
            self._link.close()

    def _read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size:
            try:
                part = self._link.recv(min(size, 1 << 20))
            except OSError as failure:
                raise self._broken(failure) from failure
            if not part:
                raise LineBroken("the other side has closed the connection")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _broken(self, failure: OSError) -> LineBroken:
        if isinstance(failure, TimeoutError):
            return LineBroken(f"the other side is silent for {self._seconds:g} s")
        return LineBroken(f"the connection broke: {failure.strerror or failure}")


def write(value: object) -> bytes:
    """Write plain data."""
    return msgspec.msgpack.encode(value, enc_hook=_as_text)


def reader(kind: object) -> msgspec.msgpack.Decoder[Any]:
    """Make what reads data of a type; TypeError for a type that is no plain data."""
    return msgspec.msgpack.Decoder(cast("type[Any]", kind), dec_hook=_of_text)


def _as_text(value: object) -> object:
    if isinstance(value, AS_TEXT):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError(f"{type(value)} is no plain data")


def _of_text(kind: type, value: object) -> object:
    if issubclass(kind, AS_TEXT) and isinstance(value, str):
        return kind(value)
    raise NotImplementedError(f"{kind} is no plain data")
