"""A whole cloud of made-up hosts in one process, with a clock that tests turn by hand: nothing ever waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from cumulet.call import Call, Calls
from cumulet.catalogue import Catalogue, read_catalogue
from cumulet.db import Database
from cumulet.disks import Disk
from cumulet.disks import operations as disk_verbs
from cumulet.disks import vm_operations as vm_disk_verbs
from cumulet.disks import wire as disk_wire
from cumulet.doctor.calls import Finding
from cumulet.events import EventName
from cumulet.fabric.memory import MemoryFabric
from cumulet.fleet import Adder, Between, Examiner
from cumulet.horizon import Horizon
from cumulet.hosts import register_host
from cumulet.hosts.overlay import Vouching
from cumulet.hypervisor import HostUnreachable
from cumulet.hypervisor.memory import MemoryHypervisor, memory_hosts
from cumulet.images import Image, ImageStore
from cumulet.journal import log_event
from cumulet.limits import Limits
from cumulet.line.far_host import FarHost
from cumulet.networks import Fabrics
from cumulet.operation import OPERATIONS, Caller, Operation
from cumulet.projects import find_caller, permit
from cumulet.projects.bootstrap import OWNER_EMAIL
from cumulet.projects.identity_provider import IdentityProvider
from cumulet.projects.model import ApiKey, User
from cumulet.reconcile import Due, Reconciler, Run, find_due, wake
from cumulet.sealing import Seal
from cumulet.serve.build import reconcilers
from cumulet.serve.run import FABRIC_SWEEP
from cumulet.vm_record import Vm
from cumulet.vms import Backends, operations
from cumulet.vms import wire as vm_wire
from cumulet.webhooks import Bounds, Teller
from cumulet.wire import File

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
PROJECT = "default"
IMAGE = "micro"
TOO_OFTEN = 2000
"""More runs than anything needs to come to rest."""


class Clock:
    """Time stands still until somebody moves it."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def store_image(images: ImageStore, id: str = IMAGE, *, content: bytes = b"a disk", **facts: Any) -> Image:
    """Put a tiny fake into the store."""
    disk = images.root.parent / f"{id}.new"
    disk.write_bytes(content)
    image = Image(
        id=id,
        name=id,
        display_name=id,
        description="",
        size_gib=1,
        format="qcow2",
        sha256=content.hex().ljust(64, "0"),
        origin="a test",
        **facts,
    )
    return images.add(image, disk)


def vm_request(**fields: Any) -> vm_wire.CreateVm:
    """A CreateVM body that is right, but for the fields given."""
    right: dict[str, Any] = {
        "data_center_id": "local",
        "machine_type": "standard",
        "vm_id": "hello",
        "boot_disk_image_id": IMAGE,
        "vcpus": 2,
        "memory_gib": 4,
    }
    return vm_wire.CreateVm(**(right | fields))


@dataclass
class Asked:
    """A request that came over no wire."""

    sent: dict[str, Any]
    origin: str = "http://cloud.example"
    called: str = ""
    api_key: str = "the caller's"
    address: str = "192.0.2.7"

    def key(self) -> str:
        return self.api_key

    def named(self, parameter: str) -> str:
        return self.sent[parameter]

    def idempotency_key(self) -> str:
        return self.called

    def arguments(self) -> dict[str, Any]:
        return self.sent


def admit_holder(
    key_digest: bytes, db: Session, _key: str, operation: Operation, *, project_id: str, now: datetime
) -> Caller:
    """Let the holder of a key in, as `projects.admit` does."""
    caller = find_caller(db, key_digest, project_id=project_id, now=now)
    return permit(db, caller, operation.access, changes=not operation.reads_only)


def nobody(uri: str, *_: object) -> FarHost:
    """No machine that could be added is there."""
    raise HostUnreachable(f"{uri}: nobody answers")


@dataclass
class Cloud:
    """Everything of one server but its edge."""

    database: Database
    clock: Clock
    catalogue: Catalogue
    images: ImageStore
    fabric: MemoryFabric
    backends: Backends
    hosts: Mapping[UUID, MemoryHypervisor]
    seal: Seal
    adder: Adder = field(default_factory=lambda: Adder(nobody, str, nobody))
    findings: list[Finding] = field(default_factory=list)
    """What the doctor of each host finds."""
    provider: IdentityProvider | None = None
    doctors: dict[str, Any] = field(default_factory=dict)
    """By host, for those that have one."""
    reconciler: Reconciler = field(init=False)

    def __post_init__(self) -> None:
        self.reconciler = self.new_reconciler()

    def new_reconciler(self, database: Database | None = None) -> Reconciler:
        """What another process, or this one after its death, would have."""
        database = database or self.database
        return Reconciler(database, self.reconcilers(database), clock=self.clock)

    def reconcilers(self, database: Database) -> dict[str, Callable[..., datetime | None]]:
        """What a process that works on that database runs."""
        bounds = Bounds(self.catalogue.allowed_webhook_networks, lambda _: False)
        vouching = Vouching.below(self.images.root.parent, self.clock)
        between = Between(lambda host: self.doctors[host.name], vouching, self.catalogue)
        return reconcilers(
            self.backends, self.adder, self.examiner, Teller(Horizon(database), bounds, self.seal), between
        )

    @property
    def examiner(self) -> Examiner:
        """Whom hosts are examined by, those that answer."""

        def examine(run: Run) -> list[Finding]:
            self.backends.host(run.id).ping()
            return self.findings

        return Examiner(examine)

    @property
    def host(self) -> MemoryHypervisor:
        """The only host."""
        (host,) = self.hosts.values()
        return host

    @property
    def host_id(self) -> UUID:
        (id,) = self.hosts
        return id

    @cached_property
    def owner(self) -> Caller:
        with self.database.reading() as db:
            owners = select(User, ApiKey).join(ApiKey, ApiKey.user_id == User.id)
            user, key = db.execute(owners.where(User.email == OWNER_EMAIL)).one()
        return Caller(user_id=user.id, email=user.email, key_digest=key.digest)

    @property
    def provided(self) -> Mapping[str, object]:
        """What operations may ask for."""
        return {
            "catalogue": self.catalogue,
            "limits": self.catalogue.limits,
            "images": self.images,
            "hosts": self.hosts,
            "fabric": self.fabric,
            "provider": self.provider,
            "seal": self.seal,
            "ssh_key": "ssh-ed25519 AAAA cumulet@server",
        }

    # Asking
    def call(self, function: Callable[..., Any], caller: Caller | None = None, **arguments: Any) -> Any:
        """Call an operation as the edge does.

        The answer is read as clients read it: parts of it may be `encoded` already.
        """
        operation = OPERATIONS[function.__name__]
        digest = (caller or self.owner).key_digest
        calls = Calls(self.database, partial(admit_holder, digest), self.provided, self.clock)
        answer = Call(operation, calls).answer(Asked(arguments))
        if issubclass(operation.answer, File):
            return answer
        return msgspec.json.decode(msgspec.json.encode(answer), type=operation.answer)

    def create(self, caller: Caller | None = None, *, project_id: str = PROJECT, **fields: Any) -> vm_wire.Vm:
        """Ask for a VM and answer what CreateVM answers; nothing has worked on it yet."""
        data = vm_request(**fields)
        answer = self.call(operations.create_vm, caller, project_id=project_id, data=data)
        return answer.vm

    def create_disk(self, id: str = "data", size_gib: int = 10, **fields: Any) -> disk_wire.Disk:
        """A storage disk that is ready."""
        data = disk_wire.CreateStorageDisk(data_center_id="local", id=id, size_gib=size_gib, **fields)
        self.call(disk_verbs.create_storage_disk, project_id=PROJECT, data=data)
        self.settle()
        return self.disk(id)

    def used_disk(self, id: str = "data", size_gib: int = 10, **fields: Any) -> disk_wire.Disk:
        """A storage disk that lies on a host, because a VM had it that is gone."""
        self.create_disk(id, size_gib, **fields)
        self.create(vm_id="carrier", memory_gib=1, storage_disk_ids=[id])
        self.settle()
        self.ask(operations.terminate_vm, "carrier")
        self.settle()
        return self.disk(id)

    def attached(self, id: str = "data", vm_id: str = "hello") -> disk_wire.Disk:
        """A storage disk that a VM has."""
        self.create_disk(id)
        self.call(vm_disk_verbs.attach_storage_disk, project_id=PROJECT, id=id, vm_id=vm_id)
        self.settle()
        return self.disk(id)

    def ask(self, verb: Callable[..., Any], id: str = "hello", caller: Caller | None = None) -> Any:
        """Call a verb on a VM: `ask(operations.stop_vm)`."""
        return self.call(verb, caller, project_id=PROJECT, id=id)

    def vm(self, id: str = "hello") -> vm_wire.Vm:
        """What GetVM shows."""
        return self.ask(operations.get_vm, id).vm

    def disk(self, id: str = "data") -> disk_wire.Disk:
        """What GetDisk shows."""
        return self.ask(disk_verbs.get_disk, id).disk

    def events(self, id: str = "hello") -> list[str]:
        """The words of a VM's timeline."""
        return [entry.event for entry in self.ask(operations.get_vm_timeline, id).entries]

    def row(self, id: str = "hello") -> Vm:
        """The VM's row."""
        with self.database.reading() as db:
            return db.scalars(select(Vm).where(Vm.name == id)).one()

    def disk_row(self, id: str = "data") -> Disk:
        """The disk's row."""
        with self.database.reading() as db:
            return db.scalars(select(Disk).where(Disk.name == id)).one()

    def due(self, kind: str, id: UUID) -> Due | None:
        with self.database.reading() as db:
            return find_due(db, kind, id)

    def count(self, table: type[Any]) -> int:
        with self.database.reading() as db:
            return db.scalar(select(func.count()).select_from(table)) or 0

    # Working
    def run(self) -> None:
        """Run what is due now until nothing is; no time passes."""
        for _ in range(TOO_OFTEN):
            if not self.reconciler.run_due():
                return
        raise AssertionError("it never comes to rest")

    def settle(self) -> None:
        """Let as much time pass as it takes until nothing is unsettled."""
        for _ in range(TOO_OFTEN):
            self.run()
            soonest = self._soonest(Due.since.is_not(None))
            if soonest is None:
                return
            self.clock.now = max(self.clock.now, soonest)
        raise AssertionError("it never settles")

    def pass_time(self, seconds: float) -> None:
        """Let time pass; whatever becomes due meanwhile runs in its time."""
        end = self.clock.now + timedelta(seconds=seconds)
        self.run()
        while (soonest := self._soonest()) is not None and soonest <= end:
            self.clock.now = max(self.clock.now, soonest)
            self.run()
        self.clock.now = end

    def hear(self, vm_id: UUID) -> None:
        """Take note of what a host tells of, as a server does."""
        with self.database.writing() as db:
            wake(db, "vm", vm_id, now=self.clock())

    def remember(self, *ids: UUID) -> None:
        """Have the journal tell of things, as it does of what had a row once."""
        with self.database.writing() as db:
            for id in ids:
                log_event(
                    db,
                    EventName.DISK_CREATED,
                    at=self.clock(),
                    project_id="",
                    subject_id=id,
                    text="it was made",
                )

    def sweep(self) -> None:
        """Look at all hosts and the whole fabric, and work off what comes of it."""
        with self.database.writing() as db:
            for host_id in self.hosts:
                wake(db, "host", host_id, now=self.clock())
            wake(db, "fabric", FABRIC_SWEEP, now=self.clock())
            wake(db, "groups", FABRIC_SWEEP, now=self.clock())
        self.run()

    def measure(self) -> None:
        """Take a sample of all machines, and work off what comes of it."""
        with self.database.writing() as db:
            for host_id in self.hosts:
                wake(db, "samples", host_id, now=self.clock())
        self.run()

    def running(self, **fields: Any) -> vm_wire.Vm:
        """A VM that runs and whose guest has told that it is ready."""
        id = self.create(**fields).id
        self.settle()
        self.pass_time(5)
        return self.vm(id)

    def _soonest(self, *which: ColumnElement[bool]) -> datetime | None:
        """When the next row can be claimed."""
        with self.database.reading() as db:
            rows = db.scalars(select(Due).where(*which)).all()
        over = timedelta(microseconds=1)
        return min(
            (max(row.due_at, row.leased_until + over) if row.leased_until else row.due_at for row in rows),
            default=None,
        )


def two_pools(catalogue: Catalogue) -> Catalogue:
    """Let a second pool, `fast`, serve LOCAL at twice the price."""
    (data_center,) = catalogue.data_centers
    (own,) = data_center.disk_pools
    price = own.disk_gib_price_hr * 2
    fast = replace(own, id="fast", path="/mnt/fast", storage_classes=("LOCAL",), disk_gib_price_hr=price)
    pools = (replace(own, storage_classes=("NETWORK",)), fast)
    return replace(catalogue, data_centers=(replace(data_center, disk_pools=pools),))


def with_shared_pool(catalogue: Catalogue) -> Catalogue:
    """Let a pool that all hosts share, `net`, serve NETWORK, and the own one LOCAL."""
    (data_center,) = catalogue.data_centers
    (own,) = data_center.disk_pools
    net = replace(own, id="net", path="/mnt/net", storage_classes=("NETWORK",), shared=True)
    pools = (replace(own, storage_classes=("LOCAL",)), net)
    return replace(catalogue, data_centers=(replace(data_center, disk_pools=pools),))


def with_ceph_pool(catalogue: Catalogue) -> Catalogue:
    """Let a pool in Ceph, `net`, serve NETWORK, and the own one LOCAL."""
    (data_center,) = catalogue.data_centers
    (own,) = data_center.disk_pools
    net = replace(own, id="net", ceph_pool="vms", storage_classes=("NETWORK",))
    pools = (replace(own, storage_classes=("LOCAL",)), net)
    return replace(catalogue, data_centers=(replace(data_center, disk_pools=pools),))


def with_limits(**limits: int) -> Catalogue:
    """What is on offer where nothing is said, but for some limits."""
    return replace(read_catalogue(None), limits=Limits(**limits))


def make_cloud(
    database: Database, folder: Path, *, hypervisor: str = "memory:", catalogue: Catalogue | None = None
) -> Cloud:
    """Put a cloud together on a database that has a default project and its owner."""
    clock = Clock()
    catalogue = catalogue or read_catalogue(None)
    (data_center,) = catalogue.data_centers
    pools, shared = [one.id for one in data_center.disk_pools], data_center.shared_pools
    images = ImageStore(folder / "images")
    store_image(images)
    with database.writing() as db:
        hosts = {
            register_host(db, host.facts(), data_center_id="local", uri=hypervisor, now=NOON).id: host
            for host in memory_hosts(hypervisor, pools=pools, shared=shared).values()
        }
    fabric = MemoryFabric()
    fabrics = Fabrics(
        catalogue=catalogue,
        fabric=fabric,
        open_uplink=lambda _, bridge: fabric.lead_out(bridge),
        bridges={"local": "cx-test"},
    )
    backends = Backends(hosts=hosts, fabrics=fabrics, images=images)
    return Cloud(database, clock, catalogue, images, fabric, backends, hosts, Seal(folder))
