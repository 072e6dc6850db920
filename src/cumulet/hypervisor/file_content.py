"""Files at the ends of lines that content goes over (see `hypervisor.content`): each end is served by a thread of its own."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread
from typing import BinaryIO

from cumulet.errors import Failure
from cumulet.hypervisor.content import Broken, announce, answer, read_exactly, read_length


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


def take_file(place: Path, keep: Callable[[Path], None]) -> socket.socket:
    """Open a line that takes a file; `keep` is given it, whole and under another name, to put it in its place.

    What an earlier line took and did not put there goes.
    """
    for abandoned in place.parent.glob(f"{place.name}.*.part"):
        abandoned.unlink(missing_ok=True)
    part = place.with_name(f"{place.name}.{secrets.token_hex(4)}.part")
    part.touch(mode=0o600)
    ours, theirs = socket.socketpair()
    Thread(target=_take, args=(ours, part, keep), name=f"take {place.name}", daemon=True).start()
    return theirs


def _take(line: socket.socket, part: Path, keep: Callable[[Path], None]) -> None:
    with line, suppress(OSError):  # whoever carries it has gone
        try:
            write_sparse(line, part)
            keep(part)
        except (Broken, OSError, Failure) as problem:
            answer(line, str(problem))
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
