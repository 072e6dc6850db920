"""Files at the ends of lines that content goes over (see `hypervisor.content`): each end is served by a thread of its own."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from io import FileIO
from pathlib import Path
from threading import Thread
from typing import BinaryIO, Final

from cumulet.errors import Failure
from cumulet.hypervisor.content import BLOCK, Broken, announce, answer, read_in_place, read_length

EMPTY: Final = bytes(BLOCK)

Keep = Callable[[Path], None]
See = Callable[[memoryview], None]


def give_file(path: Path) -> socket.socket:
    """Open a line that gives a file."""
    file = path.open("rb")
    ours, theirs = socket.socketpair()
    Thread(target=_give, args=(file, ours), name=f"give {path.name}", daemon=True).start()
    return theirs


def _give(file: BinaryIO, line: socket.socket) -> None:
    with closing(file), line, suppress(OSError):  # whoever carries it has gone
        announce(line, os.fstat(file.fileno()).st_size)
        line.sendfile(file)


def take_file(place: Path, keep: Keep, *, see: See = lambda _: None) -> socket.socket:
    """Open a line that takes a file; `keep` is given it, whole and under another name, to put it in its place.

    `see` is called with each block as it comes. What an earlier line took and did not put there goes.
    """
    for abandoned in place.parent.glob(f"{place.name}.*.part"):
        abandoned.unlink(missing_ok=True)
    part = place.with_name(f"{place.name}.{secrets.token_hex(4)}.part")
    part.touch(mode=0o600)
    ours, theirs = socket.socketpair()
    Thread(target=_take, args=(ours, part, keep, see), name=f"take {place.name}", daemon=True).start()
    return theirs


def _take(line: socket.socket, part: Path, keep: Keep, see: See) -> None:
    with line, suppress(OSError):  # whoever carries it has gone
        answer(line, _problem_with(line, part, keep, see))
        while line.recv(BLOCK):  # what is on its way still: a line that is closed on it loses the answer
            pass


def _problem_with(line: socket.socket, part: Path, keep: Keep, see: See) -> str:
    """Take a file and have it kept; say why it is not, `""` when it is. What is not kept is gone by then."""
    try:
        write_sparse(line, part, see)
        keep(part)
    except (Broken, OSError, Failure) as problem:
        return str(problem) or type(problem).__name__
    finally:
        part.unlink(missing_ok=True)
    return ""


def write_sparse(line: socket.socket, part: Path, see: See) -> None:
    """Write what comes into a file that is there, but where it is empty; Broken when it does not come whole."""
    length = read_length(line)
    with part.open("r+b", buffering=0) as file:
        for block in read_in_place(line, length):
            see(block)
            if is_empty(block):
                file.seek(len(block), os.SEEK_CUR)
            else:
                write_all(file, block)
        file.truncate(length)
        os.fsync(file.fileno())


def is_empty(block: memoryview) -> bool:
    """Whether a block is nothing but zeros; most that are not are known by their first byte."""
    return block[0] == 0 and bytes(block) == EMPTY[: len(block)]


def write_all(file: FileIO, block: memoryview) -> None:
    """Write a block, however little of it the disk takes at once."""
    while block:
        block = block[file.write(block) :]
