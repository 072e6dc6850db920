"""What many hosts take: finding a VM room on one of a thousand, and looking at two hundred with all that is on them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID, uuid4

from bench.figure import Figure, at_least, at_most, say
from bench.stage import Stage
from sqlalchemy import JSON, Boolean, Enum, Integer, Uuid, select, text
from sqlalchemy.types import TypeEngine
from tests.databases import running_postgres

from cumulet.catalogue import Catalogue, read_catalogue
from cumulet.db import Database, Money, Row, Timestamp, rows_of
from cumulet.disks import Disk, DiskState
from cumulet.fabric.memory import MemoryFabric
from cumulet.hosts import Requirements, Reservation, register_host, reserve
from cumulet.hypervisor import BaseImage, DiskSpec, DomainSpec, ImageName, Seed
from cumulet.hypervisor.memory import MemoryHypervisor, memory_hosts
from cumulet.images import ImageStore, offer_made_up_images
from cumulet.migrations import migrate
from cumulet.projects import bootstrap
from cumulet.reconcile import Due, Kind, Reconciler, wake
from cumulet.resource import Wanted
from cumulet.serve.backends import make_backends
from cumulet.settings import read_settings
from cumulet.vm_record import Vm
from cumulet.vm_record.wire import VmState
from cumulet.vms import Sweeper
from cumulet.vms.create.room import Wish, lock_room

MANY_HOSTS, VMS_ON_MANY = 1000, 50_000
SWEPT_HOSTS, VMS_ON_SWEPT = 200, 10_000
SWEEP_SECONDS: Final = 30
"""Each host is looked at once in that time."""
PLACED: Final = 1000
LEAST_PLACED: Final = {"SQLite": 1000, "PostgreSQL": 600}
MOST_PERCENT: Final = 5.0
NOW: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
VM: Final = Requirements(vcpus=4, memory_mib=4096, disk_gib=20, pool="local")


def measure(stage: Stage) -> list[Figure]:
    """Place VMs, and look at hosts."""
    with running_postgres() as postgres, postgres.database() as url:
        urls = {"SQLite": f"sqlite:///{stage.folder}/placing.db", "PostgreSQL": url}
        placed = [placing(stage, kind, url) for kind, url in urls.items()]
    return [*placed, sweeping(stage)]


def placing(stage: Stage, kind: str, url: str) -> Figure:
    """Find room for one VM after the other, each in a transaction of its own, among many hosts that have many."""
    say(f"fleet: placing on {MANY_HOSTS} hosts with {VMS_ON_MANY} VMs, {kind}")
    database, hosts = stocked(stage, url, MANY_HOSTS)
    ids = [*hosts]
    with database.writing() as db:
        on = [ids[number % len(ids)] for number in range(VMS_ON_MANY)]
        db.execute(rows_of(Reservation).insert(), [reservation(id) for id in on])
        vm = row(Vm, project_id="default", data_center_id="local")
        vms = [vm | {"id": uuid4(), "name": str(number), "host_id": id} for number, id in enumerate(on)]
        db.execute(rows_of(Vm).insert(), vms)
        db.execute(text("ANALYZE"))  # PostgreSQL does so by itself within a minute
    catalogue = read_catalogue(None)
    place_one(database, catalogue)  # the first finds its statements new
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(PLACED):
        place_one(database, catalogue)
    took, cpu_took = time.perf_counter() - began, time.process_time() - cpu
    database.close()
    what = f"placements a second of the server's CPU, among {MANY_HOSTS} hosts with {VMS_ON_MANY} VMs, {kind}"
    detail = f"one after the other {PLACED / took:.0f} a second"
    return at_least(what, PLACED / cpu_took, LEAST_PLACED[kind], unit="a second", detail=detail)


def place_one(database: Database, catalogue: Catalogue) -> None:
    """Do of a create what finds it a host and takes the room there."""
    (standard,), wish = catalogue.machine_types, Wish("default", {}, gpus=0)
    with database.writing() as db:
        (chosen,) = lock_room(db, catalogue, standard, wish, VM, packed=False)
        machine = replace(VM, disk_gib=0, pool="")
        reserve(db, uuid4(), chosen.host_id, machine, vcpus_per_core=standard.vcpus_per_core)
        reserve(db, uuid4(), chosen.host_id, Requirements(disk_gib=VM.disk_gib, pool=VM.pool))


def sweeping(stage: Stage) -> Figure:
    """Look once at each of many hosts, of which all is as it should be."""
    say(f"fleet: looking at {SWEPT_HOSTS} hosts with {VMS_ON_SWEPT} VMs")
    database, hosts = stocked(stage, f"sqlite:///{stage.folder}/sweeping.db", SWEPT_HOSTS)
    settings = read_settings({"CUMULET_HYPERVISOR": "memory:", "CUMULET_DATA_DIR": str(stage.folder)})
    images = ImageStore(settings.images_dir)
    offer_made_up_images(images, ())
    image = images.find("debian-12")
    base = BaseImage(image.sha256, image.format, image.path, image.size_gib)
    for host_id, host in hosts.items():
        fill(database, host_id, host, base)
    backends = make_backends(
        settings,
        read_catalogue(None),
        "00000000",
        hosts=hosts,
        fabric=MemoryFabric(),
        open_uplink=lambda *_: None,
    )
    reconciler = Reconciler(database, {"host": Sweeper(backends).sweep_host}, clock=lambda: NOW)
    for _ in range(2):  # the first finds all statements new
        with database.writing() as db:
            for host_id in hosts:
                wake(db, Kind.HOST, host_id, now=NOW)
        began = time.process_time()
        looked = reconciler.run_due()
        percent = (time.process_time() - began) / SWEEP_SECONDS * 100
    with database.reading() as db:
        amiss = db.scalars(select(Due).where((Due.error != "") | (Due.kind != Kind.HOST))).all()
    if amiss:
        raise RuntimeError(
            f"the looks found {len(amiss)} things amiss, first: {amiss[0].error or amiss[0].kind}"
        )
    database.close()
    what = f"looking at {SWEPT_HOSTS} hosts with {VMS_ON_SWEPT} VMs every {SWEEP_SECONDS} s: CPU"
    return at_most(what, percent, MOST_PERCENT, unit="% of a core", detail=f"{looked} looks")


def stocked(stage: Stage, url: str, hosts: int) -> tuple[Database, Mapping[UUID, MemoryHypervisor]]:
    """Make a database that knows so many made-up hosts."""
    database = Database(url)
    migrate(database)
    bootstrap(database, stage.folder, NOW)
    uri = f"memory:?hosts={hosts}&vcpus=64&memory_gib=512&disk_gib=8192"
    with database.writing() as db:
        found = {
            register_host(db, host.facts(), data_center_id="local", uri=uri, now=NOW).id: host
            for host in memory_hosts(uri, pools=("local",)).values()
        }
    return database, found


def reservation(host_id: UUID) -> dict[str, object]:
    """What one VM takes of a host."""
    size = {"vcpus": VM.vcpus, "memory_mib": VM.memory_mib, "disk_gib": VM.disk_gib, "pool": VM.pool}
    return {"holder_id": uuid4(), "project_id": "default", "host_id": host_id, "vcpus_per_core": 8, **size}


def fill(database: Database, host_id: UUID, host: MemoryHypervisor, base: BaseImage) -> None:
    """Put a host's share of VMs on it, all running, with the rows that tell of them."""
    host.images.copy(base)
    ids = [(uuid4(), uuid4()) for _ in range(VMS_ON_SWEPT // SWEPT_HOSTS)]
    for vm_id, disk_id in ids:
        host.disks.create(DiskSpec(id=disk_id, size_gib=20, base=base, pool="local"))
        host.seeds.write(Seed(vm_id, "", hostname="", ssh_keys=(), password_hash="", start_script=""))
        host.machines.define(machine(vm_id, disk_id, base))
        host.machines.start(vm_id)
    started = {vm_id: domain.started for vm_id, domain in host.machines.list().items()}
    there = {"project_id": "default", "host_id": host_id}
    with database.writing() as db:
        vms = [
            row(
                Vm,
                id=vm_id,
                name=str(vm_id),
                wanted=Wanted.ACTIVE,
                state=VmState.ACTIVE,
                started=started[vm_id],
            )
            | there
            | {"image_sha256": base.sha256}
            for vm_id, _ in ids
        ]
        db.execute(rows_of(Vm).insert(), vms)
        disks = [
            row(Disk, id=id, name=str(id), vm_id=vm_id, state=DiskState.USED, wanted=Wanted.KEPT) | there
            for vm_id, id in ids
        ]
        db.execute(rows_of(Disk).insert(), disks)


def machine(vm_id: UUID, disk_id: UUID, base: BaseImage) -> DomainSpec:
    """Describe a VM's machine."""
    return DomainSpec(
        id=vm_id,
        name="bench",
        project="default",
        vcpus=VM.vcpus,
        memory_mib=VM.memory_mib,
        topology=None,
        boot_disk=disk_id,
        boot_image=ImageName(base.sha256, base.format),
        disks=(),
        nics=(),
    )


def row(table: type[Row], **known: object) -> dict[str, object]:
    """Give a row something of its type in each column that needs it."""
    needed = (column for column in rows_of(table).columns if not column.nullable)
    return {column.name: made_up(column.type) for column in needed} | known


def made_up(type: TypeEngine[Any]) -> object:
    """Something of a type."""
    if isinstance(type, Enum):
        return next(iter(type.enum_class or ()))
    kinds = (
        (Integer, 0),
        (Boolean, False),
        (JSON, {}),
        (Uuid, UUID(int=0)),
        (Timestamp, NOW),
        (Money, Decimal(0)),
    )
    return next((value for kind, value in kinds if isinstance(type, kind)), "")
