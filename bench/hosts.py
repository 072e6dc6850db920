"""What a second and a third machine cost, on the ground of the lab: two private hosts beside the server, each with its own libvirtd.

- From asking for a prepared machine as a host until it is UP.
- From an accepted CreateVM to a running QEMU, there and here in turns; the image's copy is on both.
- A live move of an idle guest, beside `virsh migrate` of the same machine between the same two hosts, from QEMU to QEMU
  over a bare connection. Ours holds what a move needs beside that: rows, the network, the seed, what is left behind.
  Meanwhile its external address is asked ten times a second, of which the longest silence is told.
- The copy of an image to a host, beside `scp` of the same file with the same key and cipher. Ours holds the checksum.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Final
from xml.etree import ElementTree as ET

from bench.create import DISK_GIB, renamed
from bench.figure import Figure, at_least, at_most, say
from bench.server import Server, wait_until
from bench.stage import Stage
from bench.starts import Starts, told_starts
from tests.fabric.guests import run
from tests.lab.ground import SERVER_TUNNELS, Ground, Machine, open_tunnels

from cumulet.catalogue import read_catalogue
from cumulet.hypervisor import BaseImage
from cumulet.line.far_host import FarHost
from cumulet.line.ssh import read_destination, scan_host_key
from cumulet.serve.backends import open_far_host

RUNS: Final = 8
MOVES: Final = 4
COPIES: Final = 3
COPIED_BYTES: Final = 256 << 20
ADDED_SECONDS: Final = 30
CREATE_RATIO: Final = 1.3
STILL_SECONDS: Final = 0.6
SILENT_SECONDS: Final = 1.0
HEARD_SECONDS: Final = 2
"""Before a move and after it, in which its address is heard."""
MOVE_RATIO: Final = 2.0
COPY_RATIO: Final = 0.8
BOOT_SECONDS: Final = 20
"""After which a guest that nobody asks is idle."""
BY_HAND: Final = Path("/var/lib/cumulet/by-hand")
"""Where a machine has the files of one that is moved by hand."""
NAME: Final = "by-hand"
ANSWERED: Final = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from", re.MULTILINE)
"""An answer to a ping, and when it came."""
STILL: Final = re.compile(r"it stood still for (\d+\.\d+) s")


def measure(stage: Stage) -> list[Figure]:
    """Add two machines, measure what they cost, and take them out again."""
    server = stage.real_server
    with closing(Ground(stage.folder / "ground")) as ground, hosts_of(server, ground) as (cloud, added):
        what = "hosts: a prepared machine is UP"
        figures = [
            at_most(what, median(added), ADDED_SECONDS, unit="s", detail=f"slowest {max(added):.1f} s")
        ]
        return [*figures, creating(cloud), *moving(cloud, stage.folder), copying(ground, stage.folder)]


@dataclass(frozen=True, slots=True)
class Cloud:
    """A server, its own host, and two more."""

    server: Server
    home: str
    machines: tuple[Machine, ...]

    def only(self, host: str) -> None:
        """Have new VMs go to one host."""
        for name in (self.home, *(machine.name for machine in self.machines)):
            call(self.server, "POST", f"hosts/{name}/{'uncordon' if name == host else 'cordon'}", json={})


def call(server: Server, method: str, path: str, **request: Any) -> Any:  # noqa: ANN401 - JSON
    """Give an answer of the operator's API."""
    answer = server.api.request(method, f"/v1/{path}", **request)
    if not answer.is_success:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
    return answer.json()


@contextmanager
def hosts_of(server: Server, ground: Ground) -> Iterator[tuple[Cloud, list[float]]]:
    """Have two machines be hosts of the server's cloud; gives how long each took that was prepared already."""
    (home,) = (host["id"] for host in call(server, "GET", "hosts")["hosts"])
    machines = tuple(ground.machines[:2])
    key, added = call(server, "GET", "host-key")["publicKey"], []
    for machine in machines:
        machine.run("sh", "-c", f"echo '{key}' >>/root/.ssh/authorized_keys")
        say(f"hosts: {machine.name} is prepared in {add(server, machine):.1f} s")
        call(server, "DELETE", f"hosts/{machine.name}")
        added.append(add(server, machine))
        say(f"hosts: {machine.name} is added in {added[-1]:.1f} s")
        machine.open_tunnels()
    open_tunnels(run, SERVER_TUNNELS)
    cloud = Cloud(server, home, machines)
    yield cloud, added
    cloud.only(home)
    for machine in machines:
        call(server, "DELETE", f"hosts/{machine.name}")


def add(server: Server, machine: Machine) -> float:
    """Give the seconds until a machine is a host that is UP."""
    began = time.perf_counter()
    call(server, "POST", "hosts", json={"destination": machine.destination})
    wait_until(
        lambda: call(server, "GET", f"hosts/{machine.name}")["host"]["state"] == "UP",
        f"{machine.name} is UP",
        within=180,
    )
    return time.perf_counter() - began


def creating(cloud: Cloud) -> Figure:
    """Race the server's own host and another one, some laps, after one that brings the image to both."""
    there = cloud.machines[0]
    with told_starts() as near, told_starts(there.libvirt_uri) as far:
        laps = [(create(cloud, cloud.home, near), create(cloud, there.name, far)) for _ in range(RUNS + 1)][
            1:
        ]
    here, remote = (median(times) for times in zip(*laps, strict=True))
    detail = f"{remote * 1000:.0f} ms, here {here * 1000:.0f} ms, medians of {RUNS}"
    return at_most(
        "hosts: accept → QEMU runs, there", remote / here, CREATE_RATIO, unit="× here", detail=detail
    )


def create(cloud: Cloud, host: str, starts: Starts) -> float:
    """Give the seconds from an accepted CreateVM to a running QEMU on a host; the VM is removed again."""
    cloud.only(host)
    cloud.server.create("racer", bootDisk={"sizeGib": DISK_GIB})
    accepted = time.perf_counter()
    took = starts.next() - accepted
    cloud.server.terminate("racer")
    say(f"hosts: a VM runs on {host} after {took * 1000:.0f} ms")
    return took


def moving(cloud: Cloud, folder: Path) -> list[Figure]:
    """Have an idle guest go there and back again, by us and by hand."""
    server, (source, target) = cloud.server, cloud.machines
    cloud.only(source.name)
    server.create("idler", bootDisk={"sizeGib": DISK_GIB})
    wait_until(lambda: bool(server.shown("idler")["guest"]["firstBootDone"]), "the guest is up", within=600)
    time.sleep(BOOT_SECONDS)
    call(server, "POST", f"hosts/{target.name}/uncordon", json={})
    ours = [move(server, (target, source)[number % 2].name) for number in range(MOVES)]
    xml = same_by_hand(source, target, folder)
    server.terminate("idler")  # the other one has its sockets
    theirs = by_hand(source, target, xml)
    still, silent, total = (median(times) for times in zip(*ours, strict=True))
    detail = f"{total:.2f} s, by hand {median(theirs):.2f} s, medians of {MOVES}"
    return [
        at_most("hosts: a live move, standing still", still, STILL_SECONDS, unit="s"),
        at_most("hosts: a live move, its external address silent", silent, SILENT_SECONDS, unit="s"),
        at_most(
            "hosts: a live move, whole",
            total / median(theirs),
            MOVE_RATIO,
            unit="× virsh migrate",
            detail=detail,
        ),
    ]


def move(server: Server, to: str) -> tuple[float, float, float]:
    """Give for how many seconds a guest stood still on its way to a host, for how many it was not heard, and how long all of it took."""
    with answers_of(server.shown("idler")["externalIpAddress"]) as answered:
        began = time.perf_counter()
        call(server, "POST", "moves", json={"projectId": "default", "vmId": "idler", "hostId": to})
        wait_until(lambda: not call(server, "GET", "moves")["moves"], "it is moved", within=300)
        took = time.perf_counter() - began
        time.sleep(HEARD_SECONDS)
    silent = max(later - earlier for earlier, later in pairwise(answered))
    told = server.ask("GET", "vms/idler/timeline")["entries"][-1]["text"]
    found = STILL.search(told)
    if found is None:
        raise RuntimeError(f"it did not move while it runs: {told}")
    say(f"hosts: moved in {took:.2f} s, stood still for {found[1]} s, was silent for {silent:.2f} s")
    return float(found[1]), silent, took


@contextmanager
def answers_of(address: str) -> Iterator[list[float]]:
    """Ask an address ten times a second for as long as the block lasts; gives the times at which it answered, once that is over."""
    ping = subprocess.Popen(("ping", "-n", "-D", "-i", "0.1", address), stdout=subprocess.PIPE, text=True)
    answered: list[float] = []
    time.sleep(HEARD_SECONDS)
    try:
        yield answered
    finally:
        ping.terminate()
        answered += map(float, ANSWERED.findall(ping.communicate()[0]))


def same_by_hand(source: Machine, target: Machine, folder: Path) -> Path:
    """Prepare on both hosts to do by hand what was done for the only machine that runs on one; gives its description."""
    template = run("virsh", "-c", source.libvirt_uri, "dumpxml", "--inactive", only_domain(source))
    disk, seed = (one.attrib["file"] for one in ET.fromstring(template).iterfind("devices/disk/source"))  # noqa: S314 - libvirt's
    images, xml = Path(disk).parent.parent / "images", folder / "by-hand.xml"
    xml.write_text(renamed(template, NAME, BY_HAND))
    for machine in (source, target):
        machine.run("mkdir", "-p", BY_HAND)
        on(machine, BY_HAND / "seed.iso").write_bytes(on(source, Path(seed)).read_bytes())
        backing = machine.run("sh", "-c", f"ls {images}/*.qcow2").split()[0]
        created = ("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", backing)
        machine.run(*created, BY_HAND / f"{NAME}.qcow2", f"{DISK_GIB}G")
    return xml


def by_hand(source: Machine, target: Machine, xml: Path) -> list[float]:
    """Give the seconds that `virsh migrate` takes, each time that the machine goes there or back."""
    run("virsh", "-q", "-c", source.libvirt_uri, "create", str(xml))
    time.sleep(BOOT_SECONDS)
    took = [migrate(*((source, target), (target, source))[number % 2]) for number in range(MOVES)]
    run("virsh", "-q", "-c", (source, target)[MOVES % 2].libvirt_uri, "destroy", NAME)
    return took


def on(machine: Machine, path: Path) -> Path:
    """Say where this process sees a machine's file."""
    return Path(f"/proc/{machine.init}/root{path}")


def only_domain(machine: Machine) -> str:
    """Name the only machine that runs there."""
    return run("virsh", "-c", machine.libvirt_uri, "list", "--name").strip()


def migrate(source: Machine, target: Machine) -> float:
    """Give the seconds that `virsh migrate` takes; what it left on the source is what comes back there later."""
    began = time.perf_counter()
    run(
        "virsh", "-q", "-c", source.libvirt_uri, "migrate", "--live", "--copy-storage-inc", "--migrate-disks", "vda",
        "--migrateuri", f"tcp://{target.address}", "--listen-address", target.address,
        NAME, target.libvirt_uri,
    )  # fmt: skip
    took = time.perf_counter() - began
    say(f"hosts: virsh migrate took {took:.2f} s")
    return took


def copying(ground: Ground, folder: Path) -> Figure:
    """Race `scp`, some laps, with a file of which nothing can be left out."""
    machine, file = ground.machines[0], folder / "image"
    content = os.urandom(COPIED_BYTES)
    file.write_bytes(content)
    image = BaseImage(hashlib.sha256(content).hexdigest(), "raw", file, 1)
    destination = scan_host_key(read_destination(f"ssh://{machine.destination}"))
    far = open_far_host(
        destination.uri, "local", catalogue=read_catalogue(None), installation="bench", identity=ground.key
    )
    with closing(far):
        laps = [(copy(far, image), scp(ground, machine, file)) for _ in range(COPIES)]
    ours, theirs = (min(times) for times in zip(*laps, strict=True))
    detail = f"{COPIED_BYTES / ours / 2**20:.0f} MiB/s, scp {COPIED_BYTES / theirs / 2**20:.0f} MiB/s, quickest of {COPIES}"
    return at_least("hosts: an image's copy", theirs / ours, COPY_RATIO, unit="× scp", detail=detail)


def copy(far: FarHost, image: BaseImage) -> float:
    """Give the seconds until a host has a copy; it is removed again."""
    began = time.perf_counter()
    wait_until(lambda: far.images.copy(image).ready, "the copy is ready")
    took = time.perf_counter() - began
    far.images.remove_copy(image.sha256)
    say(f"hosts: copied in {took:.2f} s")
    return took


def scp(ground: Ground, machine: Machine, file: Path) -> float:
    """Give the seconds that `scp` takes until the file is on the disk; it is removed again."""
    _ssh, *options, _destination = ground.ssh(machine)
    place = Path("/var/lib/cumulet/by-hand.image")
    began = time.perf_counter()
    run("scp", "-q", *options, str(file), f"{machine.destination}:{place}")
    machine.run("sync", place)
    took = time.perf_counter() - began
    machine.run("rm", place)
    say(f"hosts: scp took {took:.2f} s")
    return took
