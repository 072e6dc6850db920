"""Disks on their way from one host to another, carried by this process in threads of their own.

A server that dies lets them fall: the next look at the VM carries them anew.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Final
from uuid import UUID

from cumulet.hypervisor import HypervisorError
from cumulet.hypervisor.content import Broken, carry

AT_ONCE: Final = 0.2
"""Seconds that are waited for what is small."""

Lines = tuple[socket.socket, socket.socket]


@dataclass(slots=True)
class Load:
    """One disk on its way."""

    lines: Lines
    done: int = 0
    length: int = 0
    problem: str = ""
    ended: Event = field(default_factory=Event)

    def carry(self) -> None:
        """Carry it to its end."""
        try:
            with self.lines[0], self.lines[1]:
                carry(*self.lines, carried=self.note)
        except Broken as broken:
            self.problem = str(broken)
        finally:
            self.ended.set()

    def note(self, done: int, length: int) -> None:
        """Note how far it is."""
        self.done, self.length = done, length


@dataclass(frozen=True, slots=True)
class Carrier:
    """What is on its way."""

    loads: dict[tuple[UUID, int], Load] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def bring(self, disk_id: UUID, term: int, open_lines: Callable[[], Lines]) -> float | None:
        """Begin (or find) the way of a disk; say how much of it is over, None when all is kept; HypervisorError when it failed."""
        with self.lock:
            load = self.loads.get((disk_id, term))
            if load is None:
                load = self.loads[disk_id, term] = Load(open_lines())
                Thread(target=load.carry, name=f"carry {disk_id}", daemon=True).start()
        if not load.ended.wait(AT_ONCE):
            return load.done / load.length if load.length else 0.0
        with self.lock:
            self.loads.pop((disk_id, term), None)
        if load.problem:
            raise HypervisorError(f"disk {disk_id} did not arrive: {load.problem}")
        return None
