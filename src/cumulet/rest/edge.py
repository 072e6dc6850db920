"""The outermost ring around the app: what holds for every request and every answer, whatever they are about.

Every request gets a name, keeps its path as sent, waits for its caller's turn, and leaves one line in the log; every
answer tells browsers to be careful with it. Routing works on the path *before* percent-decoding, because an id may hold
an encoded `/` and is still one segment. The line names method, path, status and time; never a query, header or body,
where secrets may be.
"""

from __future__ import annotations

import re
import secrets
import time
import typing
from collections.abc import Callable, Hashable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from cumulet.call import Logins, Rates, Turn, Turns, Users
from cumulet.errors import CumuletError, NotFound, Unauthenticated
from cumulet.ids import neighbourhood
from cumulet.projects import digest_of
from cumulet.rest import faults
from cumulet.rest.binding import bearer_key
from cumulet.rest.care import with_care
from cumulet.rest.connections import address_of

log = structlog.get_logger()

SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
ORIGIN: Final = re.compile(r"^https?://[^/]*", re.IGNORECASE)
API: Final = "/v1/"
EVENTS: Final = b"text/event-stream"


class Edge:
    """An ASGI app that wraps another one."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        rates: Rates,
        logins: Logins,
        users: Users,
        verbs: frozenset[str] = frozenset(),
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the app, and the `verbs` that stand at the end of its paths: `/v1/projects/lab:add-permission`."""
        self._app = app
        self._verbs = verbs
        self._turns = Turns()
        self._rates = rates
        self._logins = logins
        self._users = users
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is not HTTP (the app's start and end) untouched."""
        if scope["type"] == ScopeType.HTTP:
            await self._serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Let one request through, and write down how it ended."""
        began = time.perf_counter()
        headers = dict(scope["headers"])
        caller = _caller(scope, headers)
        request_id = _request_id(headers)
        status, turn = 0, Turn(self._turns, caller)

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if _is_endless(message.get("headers", ())):  # what follows takes no thread
                    turn.end()
                if status == HTTPStatus.UNAUTHORIZED and b"authorization" in headers:
                    self._logins.note_failed(address_of(scope["client"]), now=self._seconds())
                message["headers"] = [*with_care(message.get("headers", ())), (b"x-request-id", request_id)]
            elif is_head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        method, path = scope["method"], _path(scope)
        is_head = method == "HEAD"
        routed = {"path": _routed(path, self._verbs), "method": "GET" if is_head else method}
        inner = {**scope, **routed, "turn": turn}
        # Nothing to unbind: a request is a task of its own.
        structlog.contextvars.bind_contextvars(request_id=request_id.decode())
        try:
            _refuse_unserved(path, headers)
            await self._refuse_too_fast(caller, address_of(scope["client"]), headers)
            turn.caller = await self._user(caller)
            await turn.begin()
            try:
                await self._app(inner, receive, send_named)  # type: ignore[arg-type]
            finally:
                turn.end()
        except CumuletError as refused:
            await faults.unserved(refused)(inner, receive, send_named)  # type: ignore[arg-type]
        finally:
            milliseconds = round((time.perf_counter() - began) * 1000, 1)
            log.info("request", method=method, path=path, status=status, ms=milliseconds)

    async def _user(self, caller: str | bytes) -> Hashable:
        """Take all keys of one user for one caller; to look whose one is takes a turn of the key's own."""
        digest = _digest(caller) if isinstance(caller, bytes) else b""
        if not digest:
            return caller
        if user := self._users.known(digest):
            return user
        turn = Turn(self._turns, caller)
        await turn.begin()
        try:
            return await self._users.find(digest) or caller
        finally:
            turn.end()

    async def _refuse_too_fast(
        self, caller: str | bytes, address: str, headers: Mapping[bytes, bytes]
    ) -> None:
        """Refuse whoever asks too often, or tries too many keys."""
        now = self._seconds()
        if authorization := headers.get(b"authorization"):
            await self._logins.wait(address, lambda: _digest(authorization), now=now)
        self._rates.count(hash(caller), now=now)


def _digest(authorization: bytes) -> bytes:
    """Name the key in a header as the database does; empty where there is none."""
    try:
        return digest_of(bearer_key(authorization.decode("latin-1")))
    except Unauthenticated:
        return b""


def turn_of(scope: Mapping[str, Any]) -> Turn:
    """Give the turn of a request that came through the edge."""
    return typing.cast("Turn", scope["turn"])


def _request_id(headers: Mapping[bytes, bytes]) -> bytes:
    """Take the caller's x-request-id if it is harmless, else make one."""
    given = headers.get(b"x-request-id", b"")
    return given if SANE_ID.fullmatch(given) else secrets.token_hex(16).encode()


def _path(scope: HTTPScope) -> str:
    """Give the path as sent, without what stands before it in a request that is written for a proxy."""
    path = scope["raw_path"].decode("latin-1")
    return path if path.startswith("/") else ORIGIN.sub("", path) or "/"


def _routed(path: str, verbs: frozenset[str]) -> str:
    """Make a verb at a path's end a part of its own, so that it can be routed."""
    rest, colon, verb = path.rpartition(":")
    return f"{rest}/:{verb}" if colon and verb in verbs else path


def _caller(scope: HTTPScope, headers: Mapping[bytes, bytes]) -> str | bytes:
    """Tell callers apart: by key, and by address where there is no key."""
    return headers.get(b"authorization") or neighbourhood(address_of(scope["client"]))


def _refuse_unserved(path: str, headers: Mapping[bytes, bytes]) -> None:
    """Refuse what routing would fold into something else, and what nobody here decompresses."""
    if "//" in path or (path.startswith(API) and path.endswith("/")):
        raise NotFound(f"there is no {path} in this API: a part of the path is empty")
    encoding = headers.get(b"content-encoding", b"")
    if encoding.lower() not in {b"", b"identity"}:
        raise faults.Encoded(
            f"Content-Encoding: {encoding.decode('latin-1')} is not accepted; send the body as it is, without that header"
        )


def _is_endless(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer is a stream of events."""
    return any(name == b"content-type" and value.startswith(EVENTS) for name, value in headers)
