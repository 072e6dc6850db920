"""A host as its helper serves it: opened when it is first asked for something, its changes told to all who follow."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from uuid import UUID

from cumulet.doctor import calls
from cumulet.hypervisor import Hypervisor
from cumulet.line.spool import Spool
from cumulet.line.verbs import DOCTOR, HOST, SPOOL, Verb

Followers = set["queue.SimpleQueue[UUID]"]


class ServedHost:
    """One installation's view of this machine."""

    def __init__(self, open_host: Callable[[], Hypervisor], spool: Spool) -> None:
        self._spool = spool
        self._open_host = open_host
        self._opening = threading.Lock()
        self._host: Hypervisor | None = None
        self._followers: Followers = set()

    def find(self, verb: Verb) -> Callable[..., object]:
        """Give what does a verb; opens the host for its own, and not for the doctor's, who may have to mend it first."""
        if verb.part == DOCTOR:
            owner: object = calls
        elif verb.part == SPOOL:
            owner = self._spool
        else:
            host = self._opened()
            owner = host if verb.part == HOST else getattr(host, verb.part)
        body: Callable[..., object] = getattr(owner, verb.name)
        return body

    def follow(self, follower: queue.SimpleQueue[UUID]) -> None:
        """Put into a queue which machines may have changed, from now on."""
        self._opened()
        self._followers.add(follower)

    def unfollow(self, follower: queue.SimpleQueue[UUID]) -> None:
        """Put nothing there any more."""
        self._followers.discard(follower)

    def close(self) -> None:
        """Let go of the host."""
        if self._host is not None:
            self._host.close()

    def _opened(self) -> Hypervisor:
        with self._opening:
            if self._host is None:
                host = self._open_host()
                host.on_change(self._tell)
                self._host = host
            return self._host

    def _tell(self, vm_id: UUID) -> None:
        for follower in tuple(self._followers):
            follower.put(vm_id)
