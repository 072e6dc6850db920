"""The outermost ring around the app: every request gets a name, keeps its path as sent, and leaves one line in the log.

Routing works on the path *before* percent-decoding, because an id may hold an encoded `/` and is still one segment.
The line names method, path, status and time; never a query, header or body, where secrets may be.
"""

from __future__ import annotations

import re
import time
from typing import Final
from uuid import uuid4

import structlog
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

log = structlog.get_logger()

SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,64}")


class Edge:
    """An ASGI app that wraps another one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what is not HTTP (the app's start and end) untouched."""
        if scope["type"] == ScopeType.HTTP:
            await self._serve(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        """Let one request through, and write down how it ended."""
        began = time.perf_counter()
        request_id = _request_id(scope)
        status = 0

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id)]
            elif is_head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        method, path = scope["method"], scope["raw_path"].decode("latin-1")
        is_head = method == "HEAD"
        inner = {**scope, "path": path, "method": "GET" if is_head else method}
        with structlog.contextvars.bound_contextvars(request_id=request_id.decode()):
            try:
                await self._app(inner, receive, send_named)  # type: ignore[arg-type]
            finally:
                milliseconds = round((time.perf_counter() - began) * 1000, 1)
                log.info("request", method=method, path=path, status=status, ms=milliseconds)


def _request_id(scope: HTTPScope) -> bytes:
    """Take the caller's x-request-id if it is harmless, else make one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE_ID.fullmatch(value):
            return value
    return uuid4().hex.encode()
