"""Content on its way from one host to another, or to this one, carried by this process in threads of its own.

A server that dies lets it fall: whoever wants it there begins anew.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Final

from cumulet.hypervisor.content import Broken, carry
from cumulet.hypervisor.errors import HypervisorError

AT_ONCE: Final = 0.2
"""Seconds that are waited for what is small."""

Line = socket.socket
Lines = tuple[Line, Line]


def both(source: Line, open_target: Callable[[], Line]) -> Lines:
    """Open the other end too; what is open already is closed when that fails."""
    try:
        return source, open_target()
    except BaseException:
        source.close()
        raise


@dataclass(slots=True)
class Load:
    """One thing on its way."""

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

    loads: dict[Hashable, Load] = field(default_factory=dict)
    lock: Lock = field(default_factory=Lock)

    def bring(self, what: Hashable, open_lines: Callable[[], Lines]) -> float | None:
        """Begin (or find) the way of something; say how much of it is over, None when all is kept; HypervisorError when it failed."""
        with self.lock:
            load = self.loads.get(what)
            if load is None:
                load = self.loads[what] = Load(open_lines())
                Thread(target=load.carry, name=f"carry {what}", daemon=True).start()
        if not load.ended.wait(AT_ONCE):
            return load.done / load.length if load.length else 0.0
        with self.lock:
            self.loads.pop(what, None)
        if load.problem:
            raise HypervisorError(f"{what} did not arrive: {load.problem}")
        return None
