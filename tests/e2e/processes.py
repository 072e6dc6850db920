"""The processes of the private host: all of them are this test run's, so any may be killed."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

QEMU = "qemu-system-x86"
"""As the kernel cuts its name."""


def pids_of(program: str, word: str = "") -> list[int]:
    """Processes that run a program, with a word in their command lines."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            name, line = (entry / "comm").read_text().strip(), (entry / "cmdline").read_bytes().decode()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name == program and word in line:
            found.append(int(entry.name))
    return found


def found_below(pid: int) -> list[int]:
    """Children of a process and theirs, parents first."""
    listed = subprocess.run(
        ("ps", "-o", "pid=", "--ppid", str(pid)), capture_output=True, text=True, check=False
    )
    children = [int(word) for word in listed.stdout.split()]
    return children + [pid for child in children for pid in found_below(child)]


def kill(program: str, word: str = "") -> None:
    pids = pids_of(program, word)
    assert pids, program
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
