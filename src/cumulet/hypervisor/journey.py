"""Machines on their way to another host while they run, carried by this process in threads of its own.

A server that dies lets its journeys break: what came of them is seen on both hosts.
"""

from __future__ import annotations

import socket
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from time import monotonic
from typing import Final
from uuid import UUID

from cumulet.hypervisor.errors import HypervisorError
from cumulet.hypervisor.host import Hypervisor
from cumulet.hypervisor.live_moves import Expected
from cumulet.hypervisor.streams import join

AT_ONCE: Final = 0.2
"""Seconds that are waited for what ends soon."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Who goes from where to where."""

    vm_id: UUID
    term: int
    source: Hypervisor
    target: Hypervisor
    expected: Expected
    log_bytes: int
    """How much of its console's log goes along."""


@dataclass(slots=True)
class Journey:
    """One machine on its way."""

    stage: Stage
    over: float = 0.0
    still: Future[float] = field(default_factory=Future)
    """Once it runs on the other host: for how many seconds it did not run."""

    def travel(self) -> None:
        """Bring it there, and let it go on only when it is off here."""
        try:
            self.still.set_result(self._travel())
        except BaseException as problem:  # noqa: BLE001 - whoever looks at the journey is told
            self.still.set_exception(problem)

    def _travel(self) -> float:
        stage = self.stage
        gate = stage.source.moves.open_gate(stage.vm_id)
        Thread(target=self._lead, args=(gate,), name=f"lead {stage.vm_id}", daemon=True).start()
        still = stage.source.moves.leave(stage.vm_id, stage.expected, self._note, term=stage.term)
        left_at = monotonic()
        with suppress(HypervisorError):  # its log is not worth a longer halt
            log = stage.source.consoles.log(stage.vm_id, max_bytes=stage.log_bytes)
            stage.target.consoles.bring_log(stage.vm_id, log)
        stage.target.moves.go_on(stage.vm_id, term=stage.term)
        return still + monotonic() - left_at

    def _note(self, over: float) -> None:
        self.over = over

    def _lead(self, gate: socket.socket) -> None:
        """Lead each connection of the machine, from the gate where it waits, to its other host."""
        with suppress(HypervisorError, OSError):
            while way := self._next(gate):
                gate = way

    def _next(self, gate: socket.socket) -> socket.socket | None:
        """Wait for a connection at a gate, and open the next gate; None once no more will come."""
        stage = self.stage
        try:
            way = gate.recv(1)
            inner = stage.target.moves.enter(stage.vm_id, way.decode()) if way else None
        except BaseException:
            gate.close()
            raise
        if inner is None:
            gate.close()
            return None
        Thread(target=join, args=(gate, inner), name=f"way of {stage.vm_id}", daemon=True).start()
        return stage.source.moves.open_gate(stage.vm_id)


@dataclass(frozen=True, slots=True)
class Journeys:
    """Those under way."""

    under_way: dict[UUID, Journey] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def begin(self, stage: Stage) -> None:
        """Have a machine go; one is on its way once at a time."""
        with self.lock:
            journey = self.under_way[stage.vm_id] = Journey(stage)
        Thread(target=journey.travel, name=f"journey {stage.vm_id}", daemon=True).start()

    def look(self, vm_id: UUID) -> Journey | None:
        """Give a machine's journey that is still under way; the end of one that broke is raised, once; None for none.

        One that has ended well is given until it is forgotten.
        """
        journey = self.under_way.get(vm_id)
        if journey is not None and wait_for((journey.still,), AT_ONCE).done and journey.still.exception():
            self.forget(vm_id)
            journey.still.result()
        return journey

    def forget(self, vm_id: UUID) -> None:
        """Forget a journey that has ended."""
        with self.lock:
            self.under_way.pop(vm_id, None)
