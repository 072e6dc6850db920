"""How long a look at a host's GPUs takes, which each host does twice a minute, on a made-up tree in memory."""

from __future__ import annotations

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.figure import Figure, at_most, percentile, say
from bench.stage import Stage
from tests.hypervisor.pci_trees import hgx_board

from cumulet.hypervisor.pci import read_gpus

GPUS: Final = 9
OTHERS: Final = 300
LOOKS: Final = 100
MOST_MS: Final = 10


def measure(_: Stage) -> list[Figure]:
    """Read nine GPUs among the devices of a large server."""
    say(f"gpus: {LOOKS} looks at {GPUS} GPUs among {OTHERS} other devices")
    with TemporaryDirectory(dir="/dev/shm") as folder:  # as files of /sys are, in memory
        root = hgx_board(Path(folder) / "sys", gpus=GPUS, others=OTHERS).root
        times = [look(root) for _ in range(LOOKS)]
    what = f"{GPUS} GPUs among {OTHERS} other PCI devices read: p50"
    return [at_most(what, percentile(times, 50), MOST_MS, unit="ms of CPU")]


def look(root: Path) -> float:
    """Look once; gives the CPU's milliseconds."""
    before = time.process_time()
    if len(read_gpus(root).gpus) != GPUS:
        raise RuntimeError("not all GPUs were found")
    return (time.process_time() - before) * 1000
