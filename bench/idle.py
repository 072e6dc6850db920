"""What a server costs that has nothing to do: memory and CPU, with no VM and with a thousand."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

from bench.figure import CROWD, Figure, at_most, say
from bench.server import Server, wait_until
from bench.stage import SETTLES_WITHIN, Stage

SECONDS: Final = 60
"""Every sweep comes by twice: in a span that is no multiple of theirs, chance decides how often."""
MOST_MIB: Final = 150
MOST_PERCENT: Final = 0.7
TICKS: Final = os.sysconf("SC_CLK_TCK")
PAGE_MIB: Final = os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(stage: Stage) -> list[Figure]:
    """Watch an empty server and a crowded one."""
    empty = watched("0 VMs", stage.made_up_server("empty"))
    return [*empty, *watched(f"{CROWD} VMs", stage.crowded_server)]


def watched(name: str, server: Server) -> list[Figure]:
    """Let a server be once all that was done is billed, and see what it took meanwhile."""
    wait_until(server.is_billed, "usage knows all that was done", within=SETTLES_WITHIN, pause=1)
    say(f"idle: {name} for {SECONDS} s")
    before = cpu_seconds(server.pid)
    time.sleep(SECONDS)
    percent = (cpu_seconds(server.pid) - before) / SECONDS * 100
    return [
        at_most(f"idle, {name}: resident memory", resident_mib(server.pid), MOST_MIB, unit="MiB"),
        at_most(f"idle, {name}: CPU", percent, MOST_PERCENT, unit="% of a core"),
    ]


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid: int) -> float:
    """Resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_MIB
