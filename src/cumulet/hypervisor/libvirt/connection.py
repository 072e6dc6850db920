"""The wire to a host's libvirtd: opened when needed, opened again when it died, its errors told in our words.

libvirtd may be killed, upgraded or restarted at any moment while VMs run on. Every verb can be repeated, so a call
that dies with the connection is made once more on a new one; only when that fails is the host unreachable.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import cache
from typing import Final, TypeVar

import libvirt

from cumulet.hypervisor import HostUnreachable, HypervisorError

KEEPALIVE_SECONDS: Final = 5
KEEPALIVE_MISSES: Final = 3
"""A host that falls silent ends the calls under way after some twenty seconds; a libvirtd that dies, at once."""

T = TypeVar("T")
Work = Callable[[libvirt.virConnect], T]


@cache
def start_event_loop() -> None:
    """Run libvirt's event loop in a thread of its own; it must be there before the first connection is opened."""
    libvirt.registerErrorHandler(_print_nothing, None)
    libvirt.virEventRegisterDefaultImpl()
    threading.Thread(target=_run_event_loop, name="libvirt-events", daemon=True).start()


def _print_nothing(_context: object, _error: object) -> None:
    """Keep libvirt from printing on stderr what it raises anyhow."""


def _run_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()


class Connection:
    """One connection to a libvirtd, shared by threads; libvirtd works on five requests of each at a time."""

    def __init__(self, uri: str, *, prepare: Callable[[libvirt.virConnect], None] | None = None) -> None:
        """Open nothing yet; `prepare` is called with each newly opened link before any work is done on it."""
        self._uri = uri
        self._prepare = prepare
        self._lock = threading.Lock()
        self._link: libvirt.virConnect | None = None
        self._closed = False

    def call(self, work: Work[T]) -> T:
        """Do repeatable work on the host; HostUnreachable when it cannot be asked, HypervisorError when it refuses."""
        link = self._open()
        try:
            return work(link)
        except libvirt.libvirtError as error:
            if is_alive(link):
                raise in_our_words(error) from error
        try:
            return work(self._open())
        except libvirt.libvirtError as error:
            raise in_our_words(error) from error

    def close(self) -> None:
        """Let go of the host; later calls find it unreachable."""
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            with contextlib.suppress(libvirt.libvirtError):  # it may be dead already
                link.close()

    def _open(self) -> libvirt.virConnect:
        with self._lock:
            if self._closed:
                raise HostUnreachable(f"{self._uri}: the connection was closed")
            if self._link is None or not is_alive(self._link):
                self._link = None
                self._link = open_link(self._uri, self._prepare)
            return self._link


def open_link(uri: str, prepare: Callable[[libvirt.virConnect], None] | None = None) -> libvirt.virConnect:
    """Open a connection and prepare it; HostUnreachable when that fails."""
    start_event_loop()
    try:
        link = libvirt.open(uri)
        if prepare is not None:
            prepare(link)
    except libvirt.libvirtError as error:
        raise HostUnreachable(f"{uri} does not answer: {error.get_error_message()}") from error
    return link


def notice_silence(link: libvirt.virConnect) -> None:
    """Have a connection end when the host falls silent."""
    link.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_MISSES)


def is_alive(link: libvirt.virConnect) -> bool:
    """Whether a connection still stands, as far as this side knows; asks nobody."""
    return bool(link.isAlive() == 1)


def in_our_words(error: libvirt.libvirtError) -> HypervisorError:
    """Tell a host that does not answer from one that refuses."""
    message = error.get_error_message() or str(error)
    if error.get_error_domain() in {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}:
        return HostUnreachable(f"the host's libvirt does not answer: {message}")
    return HypervisorError(message)


def has_code(error: libvirt.libvirtError, *codes: int) -> bool:
    """Whether an error says one of these things (`libvirt.VIR_ERR_…`)."""
    return error.get_error_code() in codes
