"""The door of the server: how many connections are let in, and how long one may take over what it began.

    head ──▶ body ──▶ answer ──▶ kept alive ──first byte──▶ head …
    10 s     30 s     30 s with  5 s, uvicorn's
                      nothing taken

uvicorn has no such limits, so a connection that says nothing, or says it slowly, would hold its descriptor for good,
until there are none left. Consoles, which come through the same door, may stay for as long as somebody looks.
"""

from __future__ import annotations

import asyncio
import enum
import resource
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

from cumulet.errors import CumuletError, Invalid, Unavailable
from cumulet.ids import neighbourhood
from cumulet.rest import faults
from cumulet.rest.care import with_care

TAKE_SECONDS: Final = 30.0
"""How long the other side may take nothing of an answer that is more than the system keeps for it."""
LEAVE_SECONDS: Final = 5.0
"""How long a server that ends waits for those who have nothing under way; within TLS each side says that it leaves."""
MOST_OF_ONE: Final = 256
"""Connections from one address, of IPv6 from one /64. This machine's own may have all: a reverse proxy speaks for everybody."""
MOST_HEAD_BYTES: Final = 65_536
MOST: Final = 10_000
MOST_DESCRIPTORS: Final = 65_536
KEPT_DESCRIPTORS: Final = 512
"""For the database, the hosts, files and pipes; of the others an open console needs two, and all else one."""


class TooSlow(CumuletError):
    """A request was not whole in its time."""

    code = 4
    http = 408


class TooLarge(CumuletError):
    """The head of a request is larger than any that is meant."""

    code = 3
    http = 431


class Door:
    """Who is inside."""

    def __init__(self, most: int, *, most_of_one: int = MOST_OF_ONE) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._inside: Counter[str] = Counter()
        self._total = 0

    def enter(self, address: str) -> None:
        """Let a connection in; Unavailable when there are too many."""
        if self._total >= self._most:
            raise Unavailable(
                f"{self._most} connections are open, the most that this server takes; try again in a moment"
            )
        near = neighbourhood(address)
        if self._inside[near] >= self._most_of_one and not ip_address(address).is_loopback:
            raise Unavailable(
                f"{self._most_of_one} connections from {near} are open, the most that may come from there"
            )
        self._inside[near] += 1
        self._total += 1

    def wider(self) -> Door:
        """Make another one that lets an eighth more in."""
        return Door(
            self._most + self._most // 8 + 1, most_of_one=self._most_of_one + self._most_of_one // 8 + 1
        )

    def leave(self, address: str) -> None:
        """Let it out."""
        near = neighbourhood(address)
        self._inside[near] -= 1
        self._total -= 1
        if not self._inside[near]:
            del self._inside[near]


class Phase(enum.Enum):
    """Where a connection is with its request."""

    HEAD = "head"
    BODY = "body"
    ANSWER = "answer"
    """There, or before it; kept alive after it."""


SECONDS: Final = {Phase.HEAD: 10.0, Phase.BODY: 30.0}
"""How long each may take; what follows takes as long as it takes."""


class Connection(HttpToolsProtocol):
    """A connection of HTTP that keeps to the limits."""

    def __init__(self, *, door: Door, **given: Any) -> None:  # noqa: ANN401 - what uvicorn gives to its own
        super().__init__(**given)
        self._door = door
        self._address = ""
        """Empty when it is not inside."""
        self._phase = Phase.ANSWER
        self._head_bytes = 0
        """Of a request whose head is incomplete."""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Let it in, or tell why not."""
        super().connection_made(transport)
        address = address_of(self.client)
        try:
            self._door.enter(address)
        except Unavailable as full:
            self._refuse(full)
            return
        self._address = address
        self._go_to(Phase.HEAD)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let it out."""
        super().connection_lost(exc)
        self._leave()

    def data_received(self, data: bytes) -> None:
        """Understand what came, and see how far the request is."""
        super().data_received(data)
        if self._address:
            self._go_to(self._reached())
            self._bound_head(len(data))

    def on_response_complete(self) -> None:
        """Begin anew; with the next request, if it came with this one."""
        super().on_response_complete()
        if self._address:
            self._go_to(Phase.ANSWER if self.cycle.response_complete else self._reached())

    def pause_writing(self) -> None:
        """Wait for the other side to take what was sent, but not for ever."""
        super().pause_writing()
        self._limit(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on."""
        super().resume_writing()
        self._limit(None)

    def shutdown(self) -> None:
        """Let it go, as the server ends; who does not take leave is not waited for."""
        super().shutdown()
        if self.transport.is_closing():
            self._limit(LEAVE_SECONDS, self.transport.abort)

    def handle_websocket_upgrade(self) -> None:
        """Hand the connection to a console, which counts by itself."""
        self._leave()
        super().handle_websocket_upgrade()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words are not for people
        """Refuse what is no HTTP."""
        self._refuse(
            Invalid(
                "this is not an HTTP/1.1 request; in a URL, all characters beyond ASCII must be percent-encoded, "
                "for example %C3%A4 for ä"
            )
        )

    def _reached(self) -> Phase:
        if self.cycle is None or self.cycle.response_complete:
            return Phase.HEAD
        return Phase.BODY if self.cycle.more_body else Phase.ANSWER

    def _bound_head(self, received: int) -> None:
        """Refuse a head that goes on and on: the parser would keep all of it."""
        self._head_bytes = self._head_bytes + received if self._phase is Phase.HEAD else 0
        if self._head_bytes > MOST_HEAD_BYTES:
            self._refuse(
                TooLarge(
                    f"the line and the headers of this request are more than the {MOST_HEAD_BYTES} bytes that they may be"
                )
            )

    def _go_to(self, phase: Phase) -> None:
        if phase is self._phase:
            return
        self._phase = phase
        self._limit(SECONDS.get(phase), self._too_slow)

    def _limit(self, seconds: float | None, then: Callable[[], object] = lambda: None) -> None:
        """Set the one limit that holds now, or none."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then) if seconds is not None else None

    def _too_slow(self) -> None:
        seconds = SECONDS[self._phase]
        self._refuse(
            TooSlow(f"the {self._phase.value} of this request was incomplete after {seconds:g} seconds")
        )

    def _refuse(self, refused: CumuletError) -> None:
        """Answer without the app, which may not even have begun, and close; what is answered already is not mended."""
        if self.cycle is None or not self.cycle.response_started or self.cycle.response_complete:
            self.transport.write(written(refused))
        self._leave()
        self.transport.close()

    def _leave(self) -> None:
        self._limit(None)
        if self._address:
            self._door.leave(self._address)
            self._address = ""


class ConsoleConnection(WebSocketsSansIOProtocol):
    """A connection of a console; of uvicorn's three kinds the one that stops reading when nobody takes what it brought.

    It has no limits of time here: whoever shows no ticket, answers no ping or does nothing is let go by others.
    """

    def __init__(self, *, door: Door, **given: Any) -> None:  # noqa: ANN401 - what uvicorn gives to its own
        super().__init__(**given)
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stay inside: it came in as a connection of HTTP."""
        super().connection_made(transport)
        self._door.enter(address_of(self.client))

    def connection_lost(self, exc: Exception | None) -> None:
        """Let it out."""
        super().connection_lost(exc)
        self._door.leave(address_of(self.client))

    def shutdown(self) -> None:
        """Say that the server restarts, and stay until that was heard, or for a moment.

        Left at once, what the other side has just sent would have the system break the connection, and nobody would be told.
        """
        if self.close_sent or not self.handshake_complete:
            super().shutdown()
            return
        self.stop_keepalive()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": CloseCode.SERVICE_RESTART})
        self.conn.send_close(CloseCode.SERVICE_RESTART)
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True  # what comes now is passed on to nobody
        self.transport.resume_reading()
        self.close_timer = self.loop.call_later(LEAVE_SECONDS, self.transport.abort)


def guarded(door: Door) -> Mapping[str, Any]:
    """Have uvicorn serve through this door."""
    return {
        "http": partial(Connection, door=door),
        "ws": partial(ConsoleConnection, door=door),
    }


def address_of(client: tuple[str, int] | None) -> str:
    """Where a connection comes from; this machine, if from a socket without an address."""
    return client[0] if client else "::1"


def written(refused: CumuletError) -> bytes:
    """Write a refusal as a whole answer."""
    body = faults.encoded(refused)
    headers = (
        (b"content-type", faults.JSON.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        (b"retry-after", b"1"),
    )
    first = f"HTTP/1.1 {refused.http} {HTTPStatus(refused.http).phrase}".encode()
    lines = (name + b": " + value for name, value in with_care(headers))
    return b"\r\n".join((first, *lines, b"", body))


def raise_descriptor_limit() -> int:
    """Let this process have as many descriptors as it may; gives how many connections that is room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(min((most - KEPT_DESCRIPTORS) // 2, MOST), most // 4)
