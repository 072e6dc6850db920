"""From asking for an image of a running VM to its being READY, beside `qemu-img convert` of the same disk.

The disk has 2 GiB, of which its guest has filled half a GiB. The clock of the one starts with the request, so that it
holds the rows, the freeze and the thaw (a quarter of a second together, which a larger disk does not lengthen), QEMU's
copy under a guest that writes on, and the checksum by which hosts know the image (each about twice the command). That of
the other is the command alone: it ends in the page cache, and nothing could be trusted to boot from what it copied.
"""

from __future__ import annotations

import subprocess
import time
from functools import partial
from pathlib import Path
from typing import Final

from bench.figure import Figure, at_most, say
from bench.server import Server, wait_until
from bench.stage import Stage

RUNS: Final = 5
FILL: Final = "dd if=/dev/urandom of=/root/work bs=1M count=512 && sync"
PROMISED_RATIO: Final = 6.0
"""Its parts come to five."""


def measure(stage: Stage) -> list[Figure]:
    """Race them, some laps."""
    server = stage.real_server
    server.create("origin", bootDisk={"sizeGib": 2}, startScript=FILL)
    wait_until(
        lambda: bool(server.shown("origin")["guest"]["firstBootDone"]), "its disk is filled", within=600
    )
    serial = server.shown("origin")["bootDisk"]["serial"]
    (disk,) = (
        path for path in (server.data_dir / "host/disks").iterdir() if serial in path.stem.replace("-", "")
    )
    laps = [lap(number, server, disk) for number in range(RUNS)]
    server.terminate("origin")
    mine, theirs = (min(times) for times in zip(*laps, strict=True))
    detail = f"{mine:.2f} s, by hand {theirs:.2f} s, quickest of {RUNS}"
    return [
        at_most(
            "images: asked → READY", mine / theirs, PROMISED_RATIO, unit="× qemu-img convert", detail=detail
        )
    ]


def lap(number: int, server: Server, disk: Path) -> tuple[float, float]:
    """Run both once."""
    times = ours(server), by_hand(disk, server.data_dir / "by-hand.qcow2")
    say(f"images: lap {number}: {times[0]:.2f} s, by hand {times[1]:.2f} s")
    return times


def ours(server: Server) -> float:
    """Give the seconds until an image is READY; it is removed again."""
    began = time.perf_counter()
    server.ask("POST", "images", params={"vmId": "origin", "id": "copy"})
    wait_until(partial(is_ready, server), "the image is READY")
    took = time.perf_counter() - began
    server.ask("DELETE", "images/copy")
    wait_until(lambda: server.ask("GET", "images")["totalCount"] == 0, "the image is gone")
    return took


def is_ready(server: Server) -> bool:
    """Whether the image is."""
    return bool(server.ask("GET", "images/copy")["image"]["state"] == "READY")


def by_hand(disk: Path, target: Path) -> float:
    """Give the seconds that the command takes; its copy is removed again."""
    began = time.perf_counter()
    subprocess.run(("qemu-img", "convert", "-U", "-O", "qcow2", str(disk), str(target)), check=True)
    took = time.perf_counter() - began
    target.unlink()
    return took
