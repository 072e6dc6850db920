"""A link to a host that is opened when it is needed, and again when it died.

It is opened by a thread of its own, for that can take half a minute where nobody answers; who needs it meanwhile is
told so after a moment, and holds up nobody else.

    up ──dies──▶ down ──first call──▶ opening ──▶ up
                  ▲                      │
                  └───── for a moment ◀──┘ fails
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from time import monotonic
from typing import Final, Generic, TypeVar

from cumulet.hypervisor.errors import HostUnreachable

FIRST_SECONDS: Final = 30.0
"""How long calls wait for a link that is opened for the first time: a server that starts has nothing else to do."""
AGAIN_SECONDS: Final = 1.0
"""The same for one that was lost, or could not be opened: others need the threads that wait."""
REST_SECONDS: Final = 0.5
"""Between two attempts to open it."""

T = TypeVar("T")


class ReopenedLink(Generic[T]):
    """One link, shared by threads."""

    def __init__(
        self,
        name: str,
        *,
        open: Callable[[], T],
        is_alive: Callable[[T], bool],
        close: Callable[[T], None],
        first_seconds: float = FIRST_SECONDS,
    ) -> None:
        """Open nothing yet. `open` raises HostUnreachable when it cannot; `is_alive` asks nobody."""
        self._name = name
        self._open_link = open
        self._is_alive = is_alive
        self._close_link = close
        self._lock = threading.Lock()
        self._link: T | None = None
        self._closed = False
        self._attempt: Attempt | None = None
        self._patience = first_seconds
        self._down_since: datetime | None = None
        self._problem = "connecting takes long"
        self._rests_until = 0.0

    def find(self) -> T:
        """Give the link as it stands, or once it is opened; HostUnreachable when that takes longer than a moment."""
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

    def close(self) -> None:
        """Let go of it; who needs it later finds the host unreachable."""
        with self._lock:
            self._closed = True
            link, self._link = self._link, None
        if link is not None:
            self._close_link(link)

    def _standing(self) -> T | None:
        if self._closed:
            raise HostUnreachable(f"{self._name}: the connection was closed")
        return self._link if self._link is not None and self._is_alive(self._link) else None

    def _begin_to_open(self) -> Attempt:
        self._link = None
        self._down_since = self._down_since or datetime.now(UTC)
        if monotonic() < self._rests_until:
            raise self._unreachable()
        attempt = Attempt()
        threading.Thread(target=self._open, args=(attempt,), name="host-open", daemon=True).start()
        return attempt

    def _open(self, attempt: Attempt) -> None:
        link, problem = None, "connecting failed"
        try:
            link = self._open_link()
        except HostUnreachable as failure:
            problem = str(failure)
        finally:
            with self._lock:
                self._note_end(link, problem)
            attempt.ended.set()

    def _note_end(self, link: T | None, problem: str) -> None:
        self._attempt, self._patience = None, AGAIN_SECONDS
        if link is None:
            self._problem, self._rests_until = problem, monotonic() + REST_SECONDS
        elif self._closed:
            self._close_link(link)
        else:
            self._link, self._down_since = link, None

    def _unreachable(self) -> HostUnreachable:
        since = f"{self._down_since:%H:%M:%S}" if self._down_since else "now"
        outage = f"no connection to the host since {since} UTC"
        return HostUnreachable(f"{outage}: {self._problem}", for_owner=outage)


class Attempt:
    """One attempt to open a link."""

    def __init__(self) -> None:
        self.began = monotonic()
        self.ended = threading.Event()
