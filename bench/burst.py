"""A burst of creates on twenty made-up hosts: how many VMs a second run that nobody had asked for a moment before."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Final

from bench.figure import Figure, at_least, at_most, say
from bench.idle import cpu_seconds
from bench.server import Server, wait_until
from bench.stage import Stage

VMS: Final = 400
CALLERS: Final = 4
PROMISED_PER_SECOND: Final = 150
PROMISED_CPU_MS: Final = 7.5
"""Of the server for each VM, from the request until all run: the first guests are asked how they are by then."""


def measure(stage: Stage) -> list[Figure]:
    """Create them all at once, by a few callers, and wait until each one runs."""
    server = stage.made_up_server("burst")
    say(f"burst: {VMS} VMs")
    with client_of(server) as client:
        client.stdout.readline()  # it is ready
        began, cpu_before = time.perf_counter(), cpu_seconds(server.pid)
        client.communicate(b"go\n")
    if client.returncode:
        raise RuntimeError("a create was refused: see above")
    accepted = time.perf_counter() - began
    wait_until(lambda: server.running() == VMS, "all VMs run", pause=0.05)
    rate = VMS / (time.perf_counter() - began)
    cpu_ms = (cpu_seconds(server.pid) - cpu_before) / VMS * 1000
    detail = f"{VMS} in {VMS / rate:.1f} s, accepted after {accepted:.1f} s"
    return [
        at_least("burst: creates that run", rate, PROMISED_PER_SECOND, unit="VMs/s", detail=detail),
        at_most("burst: CPU of a create until it runs", cpu_ms, PROMISED_CPU_MS, unit="ms"),
    ]


def client_of(server: Server) -> subprocess.Popen[bytes]:
    """Start what asks for them."""
    return subprocess.Popen(
        (sys.executable, "-m", "bench.creates", server.url, str(VMS), str(CALLERS)),
        env=os.environ | {"KEY": server.key},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
