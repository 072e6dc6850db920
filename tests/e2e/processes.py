"""The processes of the private host: all of them are this test run's, so any may be killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

QEMU = "qemu-system-x86"
"""As the kernel cuts its name."""


def running() -> Iterator[tuple[int, str, str]]:
    """Every process: its id, the program's name, its command line."""
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield (
                int(entry.name),
                (entry / "comm").read_text().strip(),
                (entry / "cmdline").read_bytes().decode(),
            )


def pids_of(program: str, word: str = "") -> list[int]:
    """Processes that run a program, with a word in their command lines."""
    return [pid for pid, name, line in running() if name == program and word in line]


def found_below(pid: int) -> list[int]:
    """Children of a process and theirs, parents first."""
    children = [child for child, _, _ in running() if parent_of(child) == pid]
    return children + [below for child in children for below in found_below(child)]


def parent_of(pid: int) -> int:
    """The process that waits for this one; 0 when it has gone."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def kill(program: str, word: str = "") -> None:
    pids = pids_of(program, word)
    assert pids, program
    kill_all(pids)


def kill_all(pids: Iterable[int]) -> None:
    """Kill -9; a command that was just at its end may be gone."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
