"""The pages and websockets of consoles.

    GET /console/PROJECT/VM/screen            a page; the ticket is in its URL's fragment, which no browser sends anywhere
    WS  /console/PROJECT/VM/screen/socket     first the ticket as a text, then, once a text has come back, bytes both ways
    …   /console/PROJECT/VM/serial            likewise

So a ticket is in no log, no Referer and no proxy's memory. The pages load nothing that does not come from here.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from anyio import to_thread
from litestar import Response, WebSocket, get, websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from cumulet.console import CloseReason, Console, ConsoleRequest, Consoles, Ended, Kind, Left, relay

log = structlog.get_logger()

PAGE: Final = Path(__file__).parent / "page"
TICKET_SECONDS: Final = 10.0
"""How long a websocket may take to show its ticket."""
RULES: Final = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "x-frame-options": "SAMEORIGIN",  # a VM's page shows its console
    "cache-control": "no-cache",
}

Socket = WebSocket[Any, Any, Any]


def console_pages(consoles: Consoles) -> tuple[ControllerRouterHandler, ...]:
    """Give the routes of all consoles."""
    files = create_static_files_router("/console/files", [PAGE], after_request=_with_rules)
    return (files, *(handler for kind in Kind for handler in (_page(kind), _socket(kind, consoles))))


def _page(kind: Kind) -> ControllerRouterHandler:
    """Serve the page of one kind of console; who may see what, its websocket decides."""
    page = (PAGE / f"{kind.value}.html").read_bytes()

    @get(f"/console/{{project_id:str}}/{{vm_name:str}}/{kind.value}", sync_to_thread=False)
    def show() -> Response[bytes]:
        return Response(page, media_type="text/html", headers=RULES)

    return show


def _with_rules(response: Response[Any]) -> Response[Any]:
    response.headers.update(RULES)
    return response


def _socket(kind: Kind, consoles: Consoles) -> ControllerRouterHandler:
    @websocket(f"/console/{{project_id:str}}/{{vm_name:str}}/{kind.value}/socket")
    async def serve(socket: Socket) -> None:
        await socket.accept()
        viewer = SocketViewer(socket)
        try:
            check_page(socket)
            ticket = await viewer.show_ticket()
            request = ConsoleRequest(kind, ticket=ticket, **socket.path_params)
            console = await to_thread.run_sync(consoles.open, request)
            end = await converse(consoles, console, viewer)
        except Ended as ended:
            end = ended.end
        except Exception:
            log.exception("console failed", path=socket.scope["path"])
            end = CloseReason.OUR_FAULT
        if end is not None:
            await viewer.dismiss(end)

    return serve


async def converse(consoles: Consoles, console: Console, viewer: SocketViewer) -> CloseReason | None:
    """Carry a console's bytes until it ends."""
    request = console.request
    facts = {"console": request.kind.value, "project": request.project_id, "vm": request.vm_name}
    log.info("console opened", **facts)
    end: CloseReason | None = CloseReason.OUR_FAULT
    try:
        await viewer.welcome()
        end = await relay(consoles, console, viewer)
    except Left:
        end = None
    finally:
        consoles.close(console)
        log.info("console closed", **facts, end=end.name if end else "viewer left")
    return end


def check_page(socket: Socket) -> None:
    """Return when a websocket comes from a page of ours, or from a program, which names no page; else Ended."""
    origin = socket.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != socket.headers.get("host"):
        raise Ended(CloseReason.FOREIGN_PAGE)


class SocketViewer:
    """A viewer behind a websocket."""

    def __init__(self, socket: Socket) -> None:
        self._socket = socket

    async def show_ticket(self) -> str:
        """Wait for the ticket; Ended when none comes."""
        try:
            async with asyncio.timeout(TICKET_SECONDS):
                return str(await self._socket.receive_data(mode="text"))
        except (TimeoutError, WebSocketDisconnect):
            raise Ended(CloseReason.BAD_TICKET) from None

    async def welcome(self) -> None:
        """Tell that the console is open: from here on there are only bytes."""
        await self._send({"type": "websocket.send", "text": "open", "bytes": None})

    async def receive(self) -> bytes | None:
        """Give the next bytes; None when they have left."""
        message = await self._socket.receive()
        if message["type"] != "websocket.receive":
            return None
        return message.get("bytes") or (message.get("text") or "").encode()

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self._send({"type": "websocket.send", "bytes": data, "text": None})

    async def dismiss(self, end: CloseReason) -> None:
        """Say why it ends, if they are still there."""
        with suppress(Left):
            await self._send({"type": "websocket.close", "code": end.code, "reason": end.words})

    async def _send(self, message: Any) -> None:  # noqa: ANN401 - one of ASGI's
        try:
            await self._socket.send(message)
        except (OSError, WebSocketDisconnect):  # what the server and Litestar raise then
            raise Left from None
