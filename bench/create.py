"""From an accepted CreateVM to a running QEMU, beside the commands that an operator would type for the same machine.

Both start the machine that our driver describes (`virsh dumpxml` of a VM of ours, under another name, UUID, MAC, disk
and console log, with a port of its own on OVN's bridge), from the same image on the same host, in turns; both end when
libvirt tells that QEMU runs. The clock of the one starts when the API has accepted the VM, so that it holds the
database, the logical port in OVN, the overlay, the seed and the definition; the clock of the other with `qemu-img
create`, whose seed is there already, and goes on to `virsh create`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final
from uuid import uuid4
from xml.etree import ElementTree as ET

import msgspec
from bench.figure import Figure, at_most, say
from bench.server import Server
from bench.stage import Stage
from bench.starts import Starts, told_starts

RUNS: Final = 12
DISK_GIB: Final = 6
PROMISED_RATIO: Final = 1.5


@dataclass(frozen=True, slots=True)
class ByHand:
    """The same machine, started by commands."""

    folder: Path
    template: str
    """`virsh dumpxml` of a VM of ours."""
    base: str
    """Its image on the host."""

    def start(self, starts: Starts) -> float:
        """Give the seconds from the first command to a running QEMU; the machine is removed again."""
        name = f"by-hand-{uuid4()}"
        disk, xml = self.folder / f"{name}.qcow2", self.folder / f"{name}.xml"
        xml.write_text(renamed(self.template, name, self.folder))
        began = time.perf_counter()
        run(
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            "qcow2",
            "-b",
            self.base,
            str(disk),
            f"{DISK_GIB}G",
        )
        run("virsh", "-q", "create", str(xml))
        took = starts.next() - began
        run("virsh", "-q", "destroy", name)
        disk.unlink()
        return took


@dataclass(slots=True)
class Ours:
    """VMs of the API."""

    server: Server
    requests: list[float] = field(default_factory=list)
    """How long each CreateVM took to answer."""

    def start(self, starts: Starts) -> float:
        """Give the seconds from an accepted CreateVM to a running QEMU; the VM is removed again."""
        began = time.perf_counter()
        self.server.create("racer", bootDisk={"sizeGib": DISK_GIB})
        accepted = time.perf_counter()
        started = starts.next()
        self.requests.append(accepted - began)
        self.server.terminate("racer")
        return started - accepted


def measure(stage: Stage) -> list[Figure]:
    """Race them, some laps, after one lap that warms up both."""
    server = stage.real_server
    with told_starts() as starts:
        server.create("model", bootDisk={"sizeGib": DISK_GIB})
        starts.next()
        ours, by_hand = Ours(server), same_by_hand(stage.folder / "by-hand")
        server.terminate("model")
        laps = [lap(number, ours.start, by_hand.start, starts) for number in range(RUNS + 1)][1:]
    mine, theirs = (median(times) for times in zip(*laps, strict=True))
    detail = f"{mine * 1000:.0f} ms, by hand {theirs * 1000:.0f} ms, medians of {RUNS}"
    request = f"{median(ours.requests[1:]) * 1000:.0f} ms"
    return [
        at_most("create: accept → QEMU runs", mine / theirs, PROMISED_RATIO, unit="× by hand", detail=detail),
        Figure("create: the request itself", request),
    ]


def lap(
    number: int, ours: Callable[[Starts], float], by_hand: Callable[[Starts], float], starts: Starts
) -> tuple[float, float]:
    """Run both once."""
    times = ours(starts), by_hand(starts)
    say(f"create: lap {number}: {times[0] * 1000:.0f} ms, by hand {times[1] * 1000:.0f} ms")
    return times


def same_by_hand(folder: Path) -> ByHand:
    """Prepare to do by hand what was done for the only machine that runs."""
    folder.mkdir(mode=0o755)
    template = run("virsh", "dumpxml", "--inactive", run("virsh", "list", "--name").strip())
    disk, seed = (source.attrib["file"] for source in ET.fromstring(template).iterfind("devices/disk/source"))  # noqa: S314 - libvirt's
    (folder / "seed.iso").write_bytes(Path(seed).read_bytes())
    told = msgspec.json.decode(run("qemu-img", "info", "--force-share", "--output=json", disk))
    return ByHand(folder, template, base=told["backing-filename"])


def renamed(template: str, name: str, folder: Path) -> str:
    """Make another machine of a description: same devices, with files and names of its own."""
    root = ET.fromstring(template)  # noqa: S314 - libvirt's
    found(root, "name").text = name
    found(root, "uuid").text = str(uuid4())
    disk, seed = root.iterfind("devices/disk/source")
    disk.set("file", str(folder / f"{name}.qcow2"))
    seed.set("file", str(folder / "seed.iso"))
    found(root, "devices/serial/log").set("file", str(folder / f"{name}.log"))
    found(root, "devices/interface/mac").set("address", "02:00:00:00:00:01")
    found(root, "devices/interface/virtualport/parameters").set("interfaceid", str(uuid4()))
    return ET.tostring(root, encoding="unicode")


def found(root: ET.Element, path: str) -> ET.Element:
    """Give the element that must be there."""
    element = root.find(path)
    if element is None:
        raise LookupError(f"the machine's description has no {path}")
    return element


def run(*command: str) -> str:
    """Run a command that must succeed; gives what it prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
