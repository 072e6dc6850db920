"""How long a look at a host's GPUs takes, which each host does twice a minute, to choose some for a VM, and to clean one."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Final
from uuid import uuid4

import msgspec
from bench.figure import Figure, at_most, percentile, say
from bench.stage import Stage
from tests.e2e.real_cloud import lab_dir
from tests.hypervisor.pci_trees import hgx_board
from tests.nested import hardware
from tests.nested.boot_files import kept_files
from tests.nested.machine import VTD, run_nested

from cumulet.gpus.choice import FreeGpu, choose
from cumulet.hypervisor.memory.gpus import made_up_gpus
from cumulet.hypervisor.pci import read_gpus

GPUS: Final = 9
OTHERS: Final = 300
LOOKS: Final = 100
MOST_MS: Final = 10
HOSTS: Final = 100
OF_A_HOST: Final = 8
MOST_MS_TO_CHOOSE: Final = 60
MOST_MS_TO_CLEAN: Final = 200
REPOSITORY: Final = Path(__file__).parents[1]


def measure(_: Stage) -> list[Figure]:
    """Read the GPUs of a large server, choose some on one of many hosts, and clean one."""
    return [reading(), choosing(), cleaning()]


def reading() -> Figure:
    """Read nine GPUs among the devices of a large server, whose tree is in memory."""
    say(f"gpus: {LOOKS} looks at {GPUS} GPUs among {OTHERS} other devices")
    with TemporaryDirectory(dir="/dev/shm") as folder:  # as files of /sys are, in memory
        root = hgx_board(Path(folder) / "sys", gpus=GPUS, others=OTHERS).root
        times = [look(root) for _ in range(LOOKS)]
    what = f"{GPUS} GPUs among {OTHERS} other PCI devices read: p50"
    return at_most(what, percentile(times, 50), MOST_MS, unit="ms of CPU")


def look(root: Path) -> float:
    """Look once; gives the CPU's milliseconds."""
    before = time.process_time()
    if len(read_gpus(root).gpus) != GPUS:
        raise RuntimeError("not all GPUs were found")
    return (time.process_time() - before) * 1000


def choosing() -> Figure:
    """Choose as many GPUs as takes longest on the best of many hosts."""
    cards = made_up_gpus("A40", OF_A_HOST).gpus
    hosts = [
        [FreeGpu(uuid4(), one.address, one.numa_node, one.bridges) for one in cards] for _ in range(HOSTS)
    ]
    counts = range(1, OF_A_HOST + 1)
    times = {count: percentile([choice_on(hosts, count) for _ in range(LOOKS)], 50) for count in counts}
    slowest = max(times, key=times.__getitem__)
    what = f"GPUs of a VM chosen on {HOSTS} hosts of {OF_A_HOST}: p50"
    return at_most(what, times[slowest], MOST_MS_TO_CHOOSE, unit="ms of CPU", detail=f"{slowest} of them")


def choice_on(hosts: Sequence[Collection[FreeGpu]], count: int) -> float:
    """Choose on the best host; gives the CPU's milliseconds."""
    before = time.process_time()
    min(chosen.rank for free in hosts if (chosen := choose(free, count)))
    return (time.process_time() - before) * 1000


def cleaning() -> Figure:
    """Clean a GPU with its audio on an emulated machine that has an IOMMU."""
    say("gpus: a GPU with its audio is cleaned again and again on an emulated machine")
    folder = Path(mkdtemp(prefix="nested-", dir=lab_dir()))
    command = f"cd {REPOSITORY} && .venv/bin/python -m tests.nested.stories cleanings"
    machine = (*VTD, *hardware.BOARD, *hardware.CARD)
    ended = run_nested(command, folder, files=kept_files(), hardware=machine)
    if not ended.facts:
        raise RuntimeError(f"no GPU was cleaned:\n{ended.output}")
    times = msgspec.json.decode(ended.facts[0], type=dict[str, list[float]])["cleanings"]
    what = "a GPU with its audio reset and seen to be healthy: p50"
    return at_most(what, percentile(times, 50), MOST_MS_TO_CLEAN, unit="ms", detail="emulated")
