"""The composition root: settings become a running cloud. The only place that knows every part by name.

settings ─▶ database, catalogue, images ─▶ hosts and fabric ─▶ reconciler and REST
"""

from __future__ import annotations

import fcntl
import gc
import queue
import re
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid5

import structlog
import uvicorn
from litestar.types import ASGIApp
from structlog.typing import EventDict

from cumulet.catalogue import Catalogue, DataCenter, read_catalogue, with_gpus
from cumulet.console import Consoles
from cumulet.db import UNREACHABLE, Database
from cumulet.disks import reconcile_disk
from cumulet.doctor.bridges import ensure_external_bridge
from cumulet.doctor.prepare import PreparedHost, ensure_bridges, prepare_host
from cumulet.doctor.way_out import Reach
from cumulet.errors import Unavailable
from cumulet.fabric import ExternalSpec, Fabric
from cumulet.fabric.memory import MemoryFabric
from cumulet.hosts import check_pools_still_offered, installation_id, register_host
from cumulet.hypervisor import Hypervisor
from cumulet.hypervisor.memory import gpu_model_of, memory_hosts
from cumulet.images import ImageStore, offer_made_up_images
from cumulet.migrations import migrate
from cumulet.monitoring import Sampler, read_metrics
from cumulet.networks import Fabrics, bridge_name, check_still_offered, reconcile_network, sweep_fabric
from cumulet.private_images import reconcile_image
from cumulet.projects import KEY_FILE, authenticate, bootstrap
from cumulet.reconcile import Reconciler, forget_leases, wake
from cumulet.rest import create_app
from cumulet.rest.connections import Door, guarded, raise_descriptor_limit
from cumulet.rest.listener import Listener
from cumulet.retention import forget_old_facts
from cumulet.security_groups import reconcile_group, sweep_groups
from cumulet.settings import Settings
from cumulet.vms import Sweeper, World, reconcile_vm, weigh_vcpus
from cumulet.web import console_pages

log = structlog.get_logger()

WEBSOCKETS: Final[Mapping[str, Any]] = {
    "ws_max_size": 1024 * 1024,
    "ws_per_message_deflate": False,  # pictures are compressed already, and a key press must not wait for it
}
"""How uvicorn serves consoles."""
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
FABRIC_SWEEP: Final = uuid5(UUID(int=0), "fabric sweep")
"""The id under which the looks at the whole fabric are due."""


@dataclass(frozen=True, slots=True)
class Cloud:
    """A cloud put together; `started` runs it."""

    settings: Settings
    database: Database
    catalogue: Catalogue
    images: ImageStore
    world: World
    reconciler: Reconciler
    app: ASGIApp


def build(settings: Settings) -> Cloud:
    """Put a cloud together from its settings: database migrated, host prepared, nothing running yet."""
    settings.data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    catalogue = with_resolvers(read_catalogue(settings.catalogue))
    if settings.is_made_up and (gpu_model := gpu_model_of(settings.hypervisor)):
        catalogue = with_gpus(catalogue, gpu_model)
    database = Database(settings.database_url)
    migrate(database)
    bootstrap(database, settings.data_dir, datetime.now(UTC))
    with database.writing() as db:
        installation = installation_id(db)
        check_still_offered(db, catalogue)
        check_pools_still_offered(db, catalogue)
        weigh_vcpus(db, catalogue)
    world = (memory_world if settings.is_made_up else real_world)(settings, catalogue, database, installation)
    return Cloud(
        settings=settings,
        database=database,
        catalogue=catalogue,
        images=world.images,
        world=world,
        reconciler=Reconciler(database, plots(world)),
        app=create_app(
            database,
            authenticate=authenticate,
            provided={
                "catalogue": catalogue,
                "limits": catalogue.limits,
                "images": world.images,
                "hosts": world.hosts,
                "fabric": world.fabrics.fabric,
            },
            metrics=partial(read_metrics, catalogue=catalogue),
            pages=console_pages(
                Consoles(database, world.hosts, catalogue.limits, clock=lambda: datetime.now(UTC))
            ),
        ),
    )


def plots(world: World) -> dict[str, Callable[..., datetime | None]]:
    """Name the plot of each kind of resource."""
    return {
        "vm": partial(reconcile_vm, world=world),
        "disk": partial(reconcile_disk, find_host=world.host),
        "private_image": partial(
            reconcile_image, find_host=world.host, hosts=world.hosts, store=world.images
        ),
        "network": partial(reconcile_network, fabrics=world.fabrics),
        "security_group": partial(reconcile_group, fabrics=world.fabrics),
        "host": Sweeper(world).sweep_host,
        "samples": Sampler(world).sample_host,
        "fabric": partial(sweep_fabric, fabrics=world.fabrics),
        "groups": partial(sweep_groups, fabrics=world.fabrics),
        "journal": partial(forget_old_facts, days=world.fabrics.catalogue.limits.journal_days),
    }


def memory_world(settings: Settings, catalogue: Catalogue, database: Database, installation: str) -> World:
    """Make a world of made-up hosts, with images for them: for a look, for tests and for load."""
    offer_made_up_images(ImageStore(settings.images_dir), catalogue.image_aliases.values())
    hosts = memory_hosts(settings.hypervisor, pools=catalogue.data_centers[0].pool_paths)
    return make_world(
        settings,
        catalogue,
        database,
        installation,
        hosts=hosts,
        fabric=MemoryFabric(),
        open_way_out=lambda *_: None,
    )


def real_world(settings: Settings, catalogue: Catalogue, database: Database, installation: str) -> World:
    """Make this machine a host and reach it by libvirt and OVN."""
    from cumulet.fabric.ovn import open_fabric  # noqa: PLC0415 - needs OVS's Python, which made-up hosts do not
    from cumulet.hypervisor.libvirt import open_host  # noqa: PLC0415 - likewise libvirt

    prepared = prepare_host(lambda words: log.info("preparing the host", step=words))
    host = open_host(
        settings.hypervisor,
        installation=installation,
        state_dir=settings.data_dir / "host",
        pools=catalogue.data_centers[0].pool_paths,
        kvm_works=prepared.kvm.works,
        userspace_datapath=prepared.datapath == "netdev",
    )
    fabric = open_fabric(settings.fabric, installation=installation, chassis=prepared.chassis)
    return make_world(
        settings,
        catalogue,
        database,
        installation,
        hosts={"local": host},
        fabric=fabric,
        open_way_out=partial(open_way_out, prepared),
        mend=prepare_host,
    )


def open_way_out(prepared: PreparedHost, spec: ExternalSpec, data_center: DataCenter) -> None:
    """Prepare this machine's end of a data center's external range, and what its switch must hold."""
    ensure_bridges(prepared.datapath)
    gateway = IPv4Interface(f"{spec.gateway}/{spec.range.prefixlen}")
    reach = Reach(data_center.resolvers, data_center.reachable_networks, data_center.reachable_services)
    ensure_external_bridge(spec.bridge, gateway, datapath=prepared.datapath, reach=reach)


def make_world(
    settings: Settings,
    catalogue: Catalogue,
    database: Database,
    installation: str,
    *,
    hosts: Mapping[str, Hypervisor],
    fabric: Fabric,
    open_way_out: Callable[[ExternalSpec, DataCenter], None],
    mend: Callable[[], object] = lambda: None,
) -> World:
    """Register the hosts in the first data center and give the plots all that they touch."""
    now = datetime.now(UTC)
    with database.writing() as db:
        rows = {
            register_host(
                db,
                host.facts(),
                data_center_id=catalogue.data_centers[0].id,
                uri=settings.hypervisor,
                now=now,
            ).id: host
            for host in hosts.values()
        }
    bridges = {one.id: bridge_name(installation, one.id) for one in catalogue.data_centers}
    return World(
        hosts=rows,
        fabrics=Fabrics(catalogue=catalogue, fabric=fabric, open_way_out=open_way_out, bridges=bridges),
        images=ImageStore(settings.images_dir),
        mend=mend,
    )


def with_resolvers(catalogue: Catalogue) -> Catalogue:
    """Give data centers that name no DNS servers those of this machine."""
    found = host_resolvers()
    data_centers = tuple(replace(one, resolvers=one.resolvers or found) for one in catalogue.data_centers)
    return replace(catalogue, data_centers=data_centers)


def host_resolvers() -> tuple[IPv4Address, ...]:
    """Read the DNS servers of this machine that guests can reach too: systemd-resolved's own, else resolv.conf's."""
    for path in (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf")):
        words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        named = [
            line[1] for line in words if len(line) > 1 and line[0] == "nameserver" and ":" not in line[1]
        ]
        usable = tuple(IPv4Address(one) for one in named if not IPv4Address(one).is_loopback)
        if usable:
            return usable
    return ()


@contextmanager
def started(cloud: Cloud) -> Iterator[None]:
    """Run the cloud's durable work for as long as the block lasts."""
    now = datetime.now(UTC)
    with cloud.database.writing() as db:
        if cloud.database.is_sqlite:
            forget_leases(db)
        for host_id in cloud.world.hosts:
            wake(db, "host", host_id, now=now)
            wake(db, "samples", host_id, now=now)
        wake(db, "fabric", FABRIC_SWEEP, now=now)
        wake(db, "groups", FABRIC_SWEEP, now=now)
        wake(db, "journal", FABRIC_SWEEP, now=now)
    changes: queue.SimpleQueue[UUID | None] = queue.SimpleQueue()
    pump = threading.Thread(target=wake_changed, args=(cloud.database, changes), name="changes", daemon=True)
    pump.start()
    for host in cloud.world.hosts.values():
        host.on_change(changes.put)
    cloud.reconciler.start()
    try:
        yield
    finally:
        cloud.reconciler.stop()
        changes.put(None)
        pump.join()
        for host in cloud.world.hosts.values():
            host.close()
        cloud.world.fabrics.fabric.close()
        cloud.database.close()


def wake_changed(database: Database, changes: queue.SimpleQueue[UUID | None]) -> None:
    """Wake VMs whose machines a host told us of; what is missed here, the sweep finds."""
    for vm_ids in told_together(changes):
        try:
            with database.writing() as db:
                for vm_id in vm_ids:
                    wake(db, "vm", vm_id, now=datetime.now(UTC))
        except UNREACHABLE as problem:
            missed = [str(vm_id) for vm_id in vm_ids]
            log.warning("changes were missed; the sweep finds them", vms=missed, problem=str(problem))


def told_together(changes: queue.SimpleQueue[UUID | None]) -> Iterator[list[UUID]]:
    """Give all that was told by now, each VM once and in one order for all who wake many, until None comes."""
    told: set[UUID | None] = set()
    while None not in told:
        told = {changes.get()}
        with suppress(queue.Empty):
            while True:
                told.add(changes.get_nowait())
        yield sorted(vm_id for vm_id in told if vm_id)


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Keep a second server off a database that has room for one; Unavailable says which file is locked."""
    if not settings.database_url.startswith("sqlite"):
        yield
        return
    settings.data_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    with (settings.data_dir / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unavailable(
                f"another server runs on {settings.data_dir}: SQLite serves one; several need PostgreSQL "
                "(CUMULET_DATABASE_URL)"
            ) from None
        yield


def show_controls(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape what steers a terminal (C0 but for line ends and tabs, DEL, C1): paths and errors hold others' texts."""
    return {
        key: CONTROLS.sub(lambda found: f"\\x{ord(found[0]):02x}", value) if isinstance(value, str) else value
        for key, value in event.items()
    }


def configure_logging() -> None:
    """Write one line an event; tracebacks without local variables, because those hold secrets."""
    for_people = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            show_controls,
            structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def serve(settings: Settings) -> None:
    """Run the cloud until it is told to stop."""
    configure_logging()
    # The listener repeats the signal that ended it: SIGTERM too must let the rest end in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with only_one(settings), started(cloud := build(settings)):
        gc.freeze()  # a collection while a long list is answered need not walk through all that stays anyway
        log.info(
            "serving",
            url=f"http://{settings.host}:{settings.port}",
            data_dir=str(settings.data_dir),
            key=str(settings.data_dir / KEY_FILE),
        )
        listener = Listener(
            uvicorn.Config(
                cloud.app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                lifespan="on",
                **WEBSOCKETS,
                **guarded(Door(raise_descriptor_limit())),
            )
        )
        with suppress(KeyboardInterrupt):  # it repeats the signal that ended it
            listener.run()
