"""Content on its way between hosts: its length, itself, and the receiver's word that all of it is kept.

Whoever sends knows no more than the line; whoever carries it from one line to the other knows how far it is, and is told
by the receiver how it went. A line that ends early carries nothing that anybody would take for whole.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator
from typing import Final

LENGTH: Final = struct.Struct(">Q")
BLOCK: Final = 1 << 18
"""Bytes: larger ones leave the processor's cache before they are worked on."""
KEPT: Final = b"\0"
"""What the receiver says when it has all; anything else are its words why not."""
LONGEST_WORDS: Final = 4096


class Broken(Exception):
    """The content did not arrive whole; the message says why."""


def announce(line: socket.socket, length: int) -> None:
    """Say how long the content is that follows."""
    line.sendall(LENGTH.pack(length))


def read_length(line: socket.socket) -> int:
    """Read how long the content is that follows; Broken."""
    return int(LENGTH.unpack(b"".join(read_exactly(line, LENGTH.size)))[0])


def read_exactly(line: socket.socket, length: int) -> Iterator[bytes]:
    """Read so many bytes, in blocks; Broken when the line ends before."""
    return map(bytes, read_in_place(line, length))


def read_in_place(line: socket.socket, length: int) -> Iterator[memoryview]:
    """Read so many bytes, in blocks each of which is there until the next one is asked for; Broken when the line ends before."""
    place = memoryview(bytearray(min(length, BLOCK)))
    while length:
        count = line.recv_into(place[:length], flags=socket.MSG_WAITALL)
        if not count:
            raise Broken(f"the line ended {length} bytes before the end")
        length -= count
        yield place[:count]


def answer(line: socket.socket, problem: str = "") -> None:
    """Tell whoever carries it that the content is kept, or why it is not."""
    line.sendall(problem.encode()[:LONGEST_WORDS] if problem else KEPT)


def carry(source: socket.socket, target: socket.socket, carried: Callable[[int, int], None]) -> None:
    """Carry content from one line to another and wait until it is kept there; Broken when it is not.

    `carried` is called with how many bytes are over, and of how many. A receiver that says why it takes no more is given none.
    """
    try:
        length = read_length(source)
        announce(target, length)
        done = 0
        for block in read_in_place(source, length):
            if has_spoken(target):
                break
            target.sendall(block)
            done += len(block)
            carried(done, length)
        words = target.recv(LONGEST_WORDS)
    except OSError as error:
        raise Broken(f"the line broke: {error}") from error
    if words != KEPT:
        raise Broken(words.decode(errors="replace") or "the receiver ended without a word")


def has_spoken(receiver: socket.socket) -> bool:
    """Whether the receiver has said something already, or has gone."""
    try:
        receiver.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    return True
