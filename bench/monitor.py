"""MonitorVM of a full day, and what it costs to take samples of fifty guests every half minute.

Samples are taken twice: on made-up hosts, which shows our own part and the database's, and of fifty real machines that
are paused, which shows libvirt's. Shares are of one core, were the same done every half minute.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import libvirt
from bench.figure import Figure, at_most, percentile, say
from bench.idle import cpu_seconds
from bench.server import Server, wait_until
from bench.stage import Stage
from sqlalchemy import select

from cumulet.db import Database
from cumulet.hypervisor import Stats
from cumulet.hypervisor.libvirt.paths import HostPaths
from cumulet.hypervisor.libvirt.pools import DiskPools
from cumulet.hypervisor.libvirt.stats import read_stats
from cumulet.monitoring.model import Samples
from cumulet.monitoring.series import FORMAT, QUARTER, STEP, sample_of
from cumulet.vm_record import Vm

GUESTS: Final = 50
ROUNDS: Final = 20
ASKED: Final = 60
DAY: Final = 24 * 3600
MOST_MS: Final = 20
MOST_PERCENT: Final = 2.0
MACHINE: Final = """\
<domain type='qemu'><name>{name}</name><uuid>{id}</uuid><memory unit='MiB'>32</memory><vcpu>1</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<devices><disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{disk}'/>
<target dev='vda' bus='virtio'/><readonly/></disk><memballoon model='virtio'><stats period='30'/></memballoon>
</devices></domain>"""


def measure(stage: Stage) -> list[Figure]:
    """Read a day, and take samples."""
    server = stage.made_up_server("monitored")
    say(f"monitor: {GUESTS} VMs on made-up hosts")
    for number in range(GUESTS):
        server.create(f"vm-{number:02}")
    wait_until(lambda: server.count_in("ACTIVE") == GUESTS, "all VMs run")
    return [a_day(server), made_up(server), real(stage)]


def a_day(server: Server) -> Figure:
    """Ask for a day of a VM, as a client does."""
    say("monitor: reading a day")
    fill_a_day(server, "vm-00")
    times = []
    for _ in range(ASKED):
        began = time.perf_counter()
        size = len(server.api.get("/v1/projects/default/vms/vm-00/monitor").content)
        times.append((time.perf_counter() - began) * 1000)
    detail = f"p99 {percentile(times, 99):.0f} ms, {DAY // STEP} items, {size // 1024} KiB"
    return at_most("MonitorVM of a full day: p50", percentile(times, 50), MOST_MS, unit="ms", detail=detail)


def fill_a_day(server: Server, name: str) -> None:
    """Write the samples of a day that has just passed."""
    database, now = Database(f"sqlite:///{server.data_dir}/cumulet.db"), int(datetime.now(UTC).timestamp())
    rows: dict[int, bytes] = {}
    for number, at in enumerate(range(now - DAY + STEP, now - QUARTER, STEP)):
        rows[at - at % QUARTER] = rows.get(at - at % QUARTER, b"") + packed(number, at)
    with database.writing() as db:
        vm_id = db.scalars(select(Vm.id).where(Vm.name == name)).one()
        for begins, content in rows.items():
            db.merge(Samples(vm_id=vm_id, begins=begins, thinned=False, packed=content))
    database.close()


def packed(number: int, at: int) -> bytes:
    """Pack the n-th sample of a guest that is at work."""
    counts = dict.fromkeys(Stats.__dataclass_fields__, (1 << 20) * number) | {"cpu_seconds": 9.5 * number}
    return FORMAT.pack(*sample_of(Stats(**counts), at=at, vcpus=1, ping_ms=3.0))  # type: ignore[arg-type]


def made_up(server: Server) -> Figure:
    """Let a server with made-up guests be, and see what it takes; the looks at hosts are in it."""
    say("monitor: a server that takes samples")
    before, began = cpu_seconds(server.pid), time.monotonic()
    time.sleep(STEP * 2)
    percent = (cpu_seconds(server.pid) - before) / (time.monotonic() - began) * 100
    what = f"server with {GUESTS} made-up guests, samples and all: CPU"
    return at_most(what, percent, MOST_PERCENT, unit="% of a core")


def real(stage: Stage) -> Figure:
    """Measure real machines again and again; count what we, libvirtd and the machines' QEMUs spend on it."""
    stage.real_server  # noqa: B018 - starts libvirtd
    paths = HostPaths(
        "bench", Path("/nowhere"), DiskPools(Path("/nowhere"), ()), kvm=False, userspace_datapath=False
    )
    with paused_machines(stage.folder, paths) as link:
        pids = [*pids_of("libvirtd"), *pids_of("qemu-system"), os.getpid()]
        before, began = sum(map(cpu_seconds, pids)), time.perf_counter()
        for _ in range(ROUNDS):
            seen = read_stats(link, paths)
        seconds = (sum(map(cpu_seconds, pids)) - before) / ROUNDS
        wall = (time.perf_counter() - began) / ROUNDS
    if len(seen) != GUESTS:
        raise RuntimeError(f"{len(seen)} of {GUESTS} machines were measured")
    detail = f"{seconds * 1000:.0f} ms CPU a look, {wall * 1000:.0f} ms"
    what = f"sampling {GUESTS} real guests, libvirt's and QEMU's part"
    return at_most(what, seconds / STEP * 100, MOST_PERCENT, unit="% of a core", detail=detail)


@contextmanager
def paused_machines(folder: Path, paths: HostPaths) -> Iterator[libvirt.virConnect]:
    """Start small machines that stand still, for as long as the block lasts."""
    say(f"monitor: starting {GUESTS} machines")
    disk = folder / "nothing.raw"
    disk.write_bytes(bytes(1 << 20))
    disk.chmod(0o644)
    link, started = libvirt.open("qemu:///system"), []
    try:
        described = (machine(uuid4(), disk, paths) for _ in range(GUESTS))
        started.extend(link.createXML(xml, libvirt.VIR_DOMAIN_START_PAUSED) for xml in described)
        yield link
    finally:
        for domain in started:
            domain.destroy()
        link.close()


def machine(id: UUID, disk: Path, paths: HostPaths) -> str:
    """Describe one of them."""
    return MACHINE.format(name=paths.domain_name(id), id=id, disk=disk)


def pids_of(program: str) -> list[int]:
    """Find the processes of a program on this private host."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        try:
            if path.read_text().startswith(program[:15]):
                found.append(int(path.parent.name))
        except OSError:  # it has just ended
            continue
    return found
