"""The moments at which QEMU processes begin to run, as libvirt tells them: the same clock for every way to start one."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

import libvirt

URI: Final = "qemu:///system"
WITHIN: Final = 60
"""Seconds that a start may take."""


class Starts:
    """What libvirt told of starts since the last one that was asked for."""

    def __init__(self, link: libvirt.virConnect) -> None:
        self._told: queue.SimpleQueue[float] = queue.SimpleQueue()
        link.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._tell, None)

    def next(self) -> float:
        """Give the moment of the next start, in the time of `time.perf_counter`; queue.Empty when none comes."""
        return self._told.get(timeout=WITHIN)

    def _tell(self, _link: object, _domain: object, event: int, _detail: int, _context: object) -> None:
        if event == libvirt.VIR_DOMAIN_EVENT_STARTED:
            self._told.put(time.perf_counter())


@contextmanager
def told_starts(uri: str = URI) -> Iterator[Starts]:
    """Listen for as long as the block lasts."""
    begin_events()
    link = libvirt.open(uri)
    yield Starts(link)
    link.close()


@cache
def begin_events() -> None:
    """Let libvirt tell from now on."""
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=run_events, daemon=True).start()


def run_events() -> None:
    """Let it tell as long as the process lives."""
    while True:
        libvirt.virEventRunDefaultImpl()
