"""Feels the hosts' pulse: a question to each every few seconds, so that one that falls silent is looked at, and one that is back.

The look at a host with all that is on it comes every half minute; this costs a host one call, and the database nothing
as long as nothing changes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import structlog

from cumulet.db import UNREACHABLE, Database
from cumulet.hypervisor import HostUnreachable, Hypervisor
from cumulet.reconcile import Kind, wake

log = structlog.get_logger()

SECONDS: Final = 5.0
MOST_AT_ONCE: Final = 256
"""Hosts that are asked at the same time: each that hangs keeps a thread, and others need none for longer than a call."""


class Pulse:
    """Asks hosts whether they answer, in threads of its own."""

    def __init__(
        self, database: Database, hosts: Mapping[UUID, Hypervisor], *, seconds: float = SECONDS
    ) -> None:
        self.silent: dict[UUID, str] = {}
        """Those that did not answer last, and why: nobody else need wait for one to learn that."""
        self._database = database
        self._hosts = hosts
        self._seconds = seconds
        self._under_way: dict[UUID, Future[None]] = {}
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="pulse")
        self._thread = threading.Thread(target=self._run, name="pulse", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        while not self._stopping.wait(self._seconds):
            try:
                self._ask({id: host for id in tuple(self._hosts) if (host := self._hosts.get(id))})
            except UNREACHABLE as problem:
                log.warning("it is not known which hosts there are", problem=str(problem))

    def _ask(self, hosts: Mapping[UUID, Hypervisor]) -> None:
        """Ask each that is not being asked still, and forget those that are gone."""
        for gone in {*self._under_way, *tuple(self.silent)} - hosts.keys():
            self._under_way.pop(gone, None)
            self.silent.pop(gone, None)
        for host_id, host in hosts.items():
            asked = self._under_way.get(host_id)
            if asked is None or asked.done():
                self._under_way[host_id] = self._pool.submit(self._feel, host_id, host)

    def _feel(self, host_id: UUID, host: Hypervisor) -> None:
        was_silent = host_id in self.silent
        try:
            host.ping()
        except HostUnreachable as problem:
            self.silent[host_id] = str(problem)
        else:
            self.silent.pop(host_id, None)
        if was_silent != (host_id in self.silent):
            self._have_it_looked_at(host_id)

    def _have_it_looked_at(self, host_id: UUID) -> None:
        try:
            with self._database.writing() as db:
                wake(db, Kind.HOST, host_id, now=datetime.now(UTC))
        except UNREACHABLE as problem:  # the look that comes in any case notices it too
            log.warning("a host's pulse could not be noted", host=str(host_id), problem=str(problem))
