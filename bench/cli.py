"""How long a command of the client takes, from the start of its process to its end, against a server on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Final

from bench.figure import CROWD, Figure, at_most, percentile, say
from bench.server import Server
from bench.stage import Stage

RUNS: Final = 20
MOST_MS: Final = 250
COMMANDS: Final = {
    f"vm list of {CROWD}": ("vm", "list"),
    "vm get": ("vm", "get", "vm-0500"),
    "network list": ("network", "list"),
}


def measure(stage: Stage) -> list[Figure]:
    """Run each command again and again."""
    server = stage.crowded_server
    figures = []
    for name, words in COMMANDS.items():
        say(f"cli: {name}")
        times = [ran(server, words) for _ in range(RUNS)]
        detail = f"p90 {percentile(times, 90):.0f} ms, {RUNS} runs"
        figures.append(
            at_most(f"cumulet {name}: p50", percentile(times, 50), MOST_MS, unit="ms", detail=detail)
        )
    return figures


def ran(server: Server, words: tuple[str, ...]) -> float:
    """Run a command; give the milliseconds that it took."""
    environment = os.environ | {"CUMULET_URL": server.url, "CUMULET_API_KEY": server.key}
    began = time.perf_counter()
    subprocess.run(
        (sys.executable, "-m", "cumulet", *words), env=environment, check=True, stdout=subprocess.DEVNULL
    )
    return (time.perf_counter() - began) * 1000
