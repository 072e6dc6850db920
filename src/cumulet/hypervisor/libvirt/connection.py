"""The wire to a host's libvirtd: opened when needed, opened again when it died, its errors told in our words.

libvirtd may be killed, upgraded or restarted at any moment while VMs run on. A call under which the wire is lost is not
made again here: it may be what libvirtd died of.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from functools import cache
from typing import Final, TypeVar

import libvirt

from cumulet.hypervisor import HostLost, HostUnreachable, HypervisorError
from cumulet.hypervisor.reopened_link import ReopenedLink

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
        self._link = ReopenedLink(
            uri, open=lambda: open_link(uri, prepare), is_alive=is_alive, close=close_link
        )

    def call(self, work: Work[T]) -> T:
        """Do work on the host; HostUnreachable when it cannot be asked, HypervisorError when it refuses.

        HostLost when the wire is lost under the work: whether it was done nobody knows.
        """
        link = self._link.find()
        try:
            return work(link)
        except libvirt.libvirtError as error:
            if is_alive(link):
                raise in_our_words(error) from error
            raise HostLost(
                f"the connection to the host's libvirt was lost during a call: {message_of(error)}"
            ) from error

    def close(self) -> None:
        """Let go of the host; later calls find it unreachable."""
        self._link.close()


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


def close_link(link: libvirt.virConnect) -> None:
    """Close a connection; it may be dead already."""
    with contextlib.suppress(libvirt.libvirtError):
        link.close()


def notice_silence(link: libvirt.virConnect) -> None:
    """Have a connection end when the host falls silent."""
    link.setKeepAlive(KEEPALIVE_SECONDS, KEEPALIVE_MISSES)


def is_alive(link: libvirt.virConnect) -> bool:
    """Whether a connection still stands, as far as this side knows; asks nobody."""
    return bool(link.isAlive() == 1)


def in_our_words(error: libvirt.libvirtError) -> HypervisorError:
    """Tell a host that does not answer from one that refuses."""
    if error.get_error_domain() in {libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE}:
        return HostUnreachable(f"the host's libvirt does not answer: {message_of(error)}")
    return HypervisorError(message_of(error))


def message_of(error: libvirt.libvirtError) -> str:
    """What libvirt says of an error."""
    return error.get_error_message() or str(error)


def has_code(error: libvirt.libvirtError, *codes: int) -> bool:
    """Whether an error says one of these things (`libvirt.VIR_ERR_…`)."""
    return error.get_error_code() in codes
