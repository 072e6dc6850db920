"""The wire to a host's libvirtd: opened when needed, opened again when it died, its errors told in our words.

libvirtd may be killed, upgraded or restarted at any moment while VMs run on. A call under which the wire is lost is not
made again here: it may be what libvirtd died of. The wire is opened by a thread of its own, for that can take half a
minute where nobody answers; who calls meanwhile is told so after a moment, and holds up nobody else.

    up ──dies──▶ down ──first call──▶ opening ──▶ up
                  ▲                      │
                  └───── for a moment ◀──┘ fails
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from time import monotonic
from typing import Final, TypeVar

import libvirt

from cumulet.hypervisor import HostLost, HostUnreachable, HypervisorError

KEEPALIVE_SECONDS: Final = 5
KEEPALIVE_MISSES: Final = 3
"""A host that falls silent ends the calls under way after some twenty seconds; a libvirtd that dies, at once."""
FIRST_SECONDS: Final = 30.0
"""How long calls wait for a wire that is opened for the first time: a server that starts has nothing else to do."""
AGAIN_SECONDS: Final = 1.0
"""The same for one that was lost, or could not be opened: others need the threads that wait."""
REST_SECONDS: Final = 0.5
"""Between two attempts to open it."""

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
        self._attempt: Attempt | None = None
        self._patience = FIRST_SECONDS
        self._down_since: datetime | None = None
        self._problem = "connecting takes long"
        self._rests_until = 0.0

    def call(self, work: Work[T]) -> T:
        """Do work on the host; HostUnreachable when it cannot be asked, HypervisorError when it refuses.

        HostLost when the wire is lost under the work: whether it was done nobody knows.
        """
        link = self._find_link()
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
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        close_link(link)

    def _find_link(self) -> libvirt.virConnect:
        """The wire as it stands, or once it is opened; HostUnreachable when that takes longer than a moment."""
        with self._lock:
            if link := self._standing():
                return link
            attempt = self._attempt = self._attempt or self._begin_to_open()
            left = attempt.began + self._patience - monotonic()
        attempt.ended.wait(max(0.0, left))
        with self._lock:
            if link := self._standing():
                return link
            self._patience = AGAIN_SECONDS
            raise self._unreachable()

    def _standing(self) -> libvirt.virConnect | None:
        if self._closed:
            raise HostUnreachable(f"{self._uri}: the connection was closed")
        return self._link if self._link is not None and is_alive(self._link) else None

    def _begin_to_open(self) -> Attempt:
        self._link = None
        self._down_since = self._down_since or datetime.now(UTC)
        if monotonic() < self._rests_until:
            raise self._unreachable()
        attempt = Attempt()
        threading.Thread(target=self._open, args=(attempt,), name="libvirt-open", daemon=True).start()
        return attempt

    def _open(self, attempt: Attempt) -> None:
        link, problem = None, "connecting failed"
        try:
            link = open_link(self._uri, self._prepare)
        except HostUnreachable as failure:
            problem = str(failure)
        finally:
            with self._lock:
                self._note_end(link, problem)
            attempt.ended.set()

    def _note_end(self, link: libvirt.virConnect | None, problem: str) -> None:
        self._attempt, self._patience = None, AGAIN_SECONDS
        if link is None:
            self._problem, self._rests_until = problem, monotonic() + REST_SECONDS
        elif self._closed:
            close_link(link)
        else:
            self._link, self._down_since = link, None

    def _unreachable(self) -> HostUnreachable:
        since = f"{self._down_since:%H:%M:%S}" if self._down_since else "now"
        outage = f"no connection to the host since {since} UTC"
        return HostUnreachable(f"{outage}: {self._problem}", for_owner=outage)


class Attempt:
    """One attempt to open a wire."""

    def __init__(self) -> None:
        self.began = monotonic()
        self.ended = threading.Event()


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


def close_link(link: libvirt.virConnect | None) -> None:
    """Close a connection, if there is one; it may be dead already."""
    if link is not None:
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
