"""Disks in memory on their way to another host."""

from __future__ import annotations

import socket
from uuid import UUID

import msgspec

from cumulet.hypervisor import DiskSpec
from cumulet.hypervisor.content import Broken, announce, answer, read_exactly, read_length
from cumulet.hypervisor.memory.contents import StoredDisk
from cumulet.hypervisor.memory.state import State


class Held(msgspec.Struct, frozen=True):
    """What a disk held when it left."""

    size_gib: int
    content: str
    snapshots: dict[UUID, tuple[int, str]]


def give(disk: StoredDisk) -> socket.socket:
    """Open a line that gives what a disk holds: little enough for a line to hold itself."""
    ours, theirs = socket.socketpair()
    with ours:
        held = msgspec.msgpack.encode(Held(disk.size_gib, disk.content, disk.snapshots))
        announce(ours, len(held))
        ours.sendall(held)
    return theirs


def take_in(line: socket.socket, spec: DiskSpec, state: State) -> None:
    """Take a disk in once it is whole, and say so."""
    with line:
        try:
            received = b"".join(read_exactly(line, read_length(line)))
            held = msgspec.msgpack.decode(received, type=Held)
            state.keep_disk(StoredDisk(spec, held.size_gib, held.content, held.snapshots))
            answer(line)
        except (Broken, OSError):
            return  # whoever carried it has gone
