"""Runs a cloud until it is told to stop."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final
from uuid import UUID, uuid5

import structlog
import uvicorn

from cumulet.db import UNREACHABLE, Database
from cumulet.errors import Invalid
from cumulet.hosts import list_hosts, wake_between, wake_queue
from cumulet.projects import KEY_FILE
from cumulet.reconcile import Kind, forget_leases, wake
from cumulet.rest.connections import Door, guarded, raise_descriptor_limit
from cumulet.rest.listener import Listener
from cumulet.rest.tls import Certificate, locked
from cumulet.serve.alone import alone
from cumulet.serve.build import Cloud, build
from cumulet.serve.logs import configure_logging
from cumulet.serve.manager import Manager
from cumulet.settings import Settings

log = structlog.get_logger()

WEBSOCKETS: Final[Mapping[str, Any]] = {
    "ws_max_size": 1024 * 1024,
    "ws_per_message_deflate": False,  # pictures are compressed already, and a key press must not wait for it
    "proxy_headers": False,  # it believes whoever is on this machine; whom we believe `build` knows
}
"""How uvicorn serves consoles, and whom it believes."""
HTTPS_PORT: Final = 443
STRICT: Final = ("strict-transport-security", "max-age=31536000")
"""Has browsers use https alone for a year, on all ports of this name: so it is said by who is the name's own site."""
BEFORE_EXAMINATION: Final = timedelta(minutes=1)
"""From the start on: nobody waits for what is wrong with a host, as they may for their VMs."""
M_ARENA_MAX: Final = -8
"""What `mallopt` of glibc calls the most heaps that threads take memory from (malloc.h)."""
FABRIC_SWEEP: Final = uuid5(UUID(int=0), "fabric sweep")
"""The id under which the looks at the whole fabric are due."""


@contextmanager
def started(cloud: Cloud) -> Iterator[None]:
    """Run the cloud's durable work for as long as the block lasts."""
    now = datetime.now(UTC)
    with cloud.database.writing() as db:
        if cloud.database.is_sqlite:
            forget_leases(db)
        for row in list_hosts(db):
            wake(db, Kind.HOST, row.id, now=now)
            wake(db, Kind.SAMPLES, row.id, now=now)
            wake(db, Kind.EXAMINATION, row.id, now=now + BEFORE_EXAMINATION)
        wake(db, Kind.FABRIC, FABRIC_SWEEP, now=now)
        wake_between(db, now=now)
        wake(db, Kind.GROUPS, FABRIC_SWEEP, now=now)
        wake(db, Kind.JOURNAL, FABRIC_SWEEP, now=now)
        wake(db, Kind.USAGE, FABRIC_SWEEP, now=now)
        wake(db, Kind.ANSWERS, FABRIC_SWEEP, now=now)
        wake(db, Kind.TRIES, FABRIC_SWEEP, now=now)
        wake(db, Kind.AUDIT, FABRIC_SWEEP, now=now)
        wake_queue(db, now=now)
    changes: queue.SimpleQueue[UUID | None] = queue.SimpleQueue()
    pump = threading.Thread(target=wake_changed, args=(cloud.database, changes), name="changes", daemon=True)
    pump.start()
    cloud.doors.on_change(changes.put)
    cloud.reconciler.start()
    cloud.herald.start()
    cloud.pulse.start()
    try:
        yield
    finally:
        cloud.pulse.stop()
        cloud.herald.stop()
        cloud.reconciler.stop()
        changes.put(None)
        pump.join()
        cloud.doors.close()
        cloud.backends.fabrics.fabric.close()
        cloud.database.close()


def wake_changed(database: Database, changes: queue.SimpleQueue[UUID | None]) -> None:
    """Wake VMs whose machines a host told us of; what is missed here, the sweep finds."""
    for vm_ids in changes_together(changes):
        try:
            with database.writing() as db:
                for vm_id in vm_ids:
                    wake(db, Kind.VM, vm_id, now=datetime.now(UTC))
        except UNREACHABLE as problem:
            missed = [str(vm_id) for vm_id in vm_ids]
            log.warning(
                "change events were missed; the sweep will find them", vms=missed, problem=str(problem)
            )


def changes_together(changes: queue.SimpleQueue[UUID | None]) -> Iterator[list[UUID]]:
    """Give all that was told by now, each VM once and in one order for all who wake many, until None comes."""
    batch: set[UUID | None] = set()
    while None not in batch:
        batch = {changes.get()}
        with suppress(queue.Empty):
            while True:
                batch.add(changes.get_nowait())
        yield sorted(vm_id for vm_id in batch if vm_id)


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Keep a second server off a database that has room for one; Unavailable says which file is locked."""
    if not settings.database_url.startswith("sqlite"):
        yield
        return
    otherwise = (
        f"another server runs on {settings.data_dir}: SQLite serves one; several need PostgreSQL "
        "(CUMULET_DATABASE_URL)"
    )
    with alone(settings.data_dir / "serve.lock", otherwise):
        yield


@contextmanager
def to_listen(settings: Settings) -> Iterator[None]:
    """Begin nothing where it is known that the server cannot listen as it is to; Invalid."""
    try:
        for family, _, _, _, where in socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM
        ):
            socket.create_server(where[:2], family=family).close()
    except OSError as problem:  # of all else the listener tells
        if problem.errno in {errno.EADDRINUSE, errno.EACCES}:
            accepted = "where nobody else listens and this user may"
            listen = f"{settings.host}:{settings.port}"
            why = os.strerror(problem.errno)
            raise Invalid.field("CUMULET_LISTEN", listen, f"{accepted} ({why})") from None
    yield


def read_certificate(settings: Settings) -> Certificate | None:
    """Read what TLS is spoken with, if it is; Invalid where keys and passwords would cross a network in plain sight."""
    if settings.is_exposed and not settings.plain_http:
        raise Invalid.field(
            "CUMULET_LISTEN",
            f"{settings.host}:{settings.port}",
            "127.0.0.1 or TLS: beyond this machine a server without TLS shows keys and passwords to the network. Set "
            "CUMULET_TLS_CERT and CUMULET_TLS_KEY (`cumulet tls self-signed` makes both), or CUMULET_PLAIN_HTTP=1 if "
            "something in front of it speaks TLS",
        )
    return Certificate(settings.tls) if settings.tls else None


def listener_of(cloud: Cloud, certificate: Certificate | None, manager: Manager) -> Listener:
    """Make what serves REST, in TLS if there is a certificate, and tells the service manager so."""
    settings, door = cloud.settings, Door(raise_descriptor_limit())
    is_the_site = certificate is not None and settings.port == HTTPS_PORT
    config = uvicorn.Config(
        cloud.app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        lifespan="on",
        headers=[STRICT] if is_the_site else [],
        **WEBSOCKETS,
        **(locked(door, certificate) if certificate else guarded(door)),
    )

    def end() -> None:
        cloud.standing.end()
        manager.ends()

    read_anew: Callable[[], object] = certificate.current if certificate else lambda: None
    return Listener(
        config,
        on_start=manager.serves,
        on_end=end,
        drain_seconds=settings.drain_seconds,
        end_streams=cloud.feed.close,
        on_hangup=partial(manager.while_reloading, read_anew) if certificate or manager.is_there else None,
    )


def share_one_heap() -> None:
    """Have all threads take memory from one heap, before there are any; each of its own would keep the most it ever had."""
    with suppress(AttributeError):  # another C library than glibc
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)


def serve(settings: Settings) -> None:
    """Run the cloud until it is told to stop."""
    share_one_heap()
    configure_logging()
    manager = Manager.named_in(os.environ)
    certificate = read_certificate(settings)
    # The listener repeats the signal that ended it: SIGTERM too must let the rest end in order.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with only_one(settings), to_listen(settings), started(cloud := build(settings)):
        gc.freeze()  # a collection while a long list is answered need not walk through all that stays anyway
        log.info(
            "serving",
            url=f"{settings.scheme}://{settings.host}:{settings.port}",
            data_dir=str(settings.data_dir),
            key=str(settings.data_dir / KEY_FILE),
        )
        with suppress(KeyboardInterrupt):  # it repeats the signal that ended it
            listener_of(cloud, certificate, manager).run()
