"""The doors to all hosts that have a row: those that were opened at the start, and lines to those that are far away.

A line is opened when its host is first asked for something, which costs nothing until then: so a host that is added
is there for every server, and one that is removed, or known by another SSH key from now on, is let go of.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final
from uuid import UUID

from cumulet.db import Database
from cumulet.hosts import HostState, list_hosts
from cumulet.hypervisor import Hypervisor

FAR: Final = "ssh://"
"""How the URI of a host begins that a line leads to."""

OpenFar = Callable[[str, str], Hypervisor]
"""Opens a line by a host's URI and data center; asks nobody yet."""


class Doors(Mapping[UUID, Hypervisor]):
    """Hosts by their ids. Going through all of them follows the rows; several threads may."""

    def __init__(self, database: Database, near: Mapping[UUID, Hypervisor], open_far: OpenFar) -> None:
        self._database = database
        self._near = near
        self._open_far = open_far
        self._far: dict[UUID, Hypervisor] = {}
        self._uris: dict[UUID, str] = {}
        self._lock = threading.Lock()
        self._notify: Callable[[UUID], None] | None = None

    def __getitem__(self, host_id: UUID) -> Hypervisor:
        """Give the door to a host; KeyError where this process has none, or it is still being added."""
        if host := self._near.get(host_id) or self._far.get(host_id):
            return host
        self._follow_rows()
        return self._far[host_id]

    def __iter__(self) -> Iterator[UUID]:
        """Give the ids of all hosts that have a door."""
        self._follow_rows()
        return iter([*self._near, *self._far])

    def __len__(self) -> int:
        """Count them."""
        return len(self._near) + len(self._far)

    def on_change(self, notify: Callable[[UUID], None]) -> None:
        """Have every host, also one that is added later, tell of its machines."""
        self._notify = notify
        for host in self.values():
            host.on_change(notify)

    def close(self) -> None:
        """Let go of all of them."""
        with self._lock:
            for host in (*self._near.values(), *self._far.values()):
                host.close()

    def _follow_rows(self) -> None:
        with self._database.reading() as db:
            rows = {row.id: row for row in list_hosts(db)}
        with self._lock:
            for gone in [id for id in self._far if id not in rows or rows[id].uri != self._uris[id]]:
                self._far.pop(gone).close()
                del self._uris[gone]
            for id, row in rows.items():
                if row.uri.startswith(FAR) and row.state is not HostState.ADDING and id not in self._far:
                    host = self._open_far(row.uri, row.data_center_id)
                    if self._notify:
                        host.on_change(self._notify)
                    self._far[id], self._uris[id] = host, row.uri
