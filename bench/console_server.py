"""The other process of the console's benchmark: made-up machines behind the bridge, and behind a bare relay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
from typing import Final
from uuid import UUID

import uvicorn
from litestar import Litestar

from cumulet.console import Asked, CloseReason, Console, Consoles
from cumulet.console.bridge import CHUNK
from cumulet.rest.connections import Door, guarded
from cumulet.serve.run import WEBSOCKETS
from cumulet.web import console_pages

FLOOD: Final = bytes(256 * 1024)


def machine(name: str) -> socket.socket:
    """Open a line to a machine that floods, or to one that repeats what it hears."""
    line, far = socket.socketpair()
    threading.Thread(target=flood if name == "flood" else repeat, args=(far,), daemon=True).start()
    return line


def flood(far: socket.socket) -> None:
    """Send without end."""
    with contextlib.suppress(OSError):
        while True:
            far.sendall(FLOOD)


def repeat(far: socket.socket) -> None:
    """Send back what comes."""
    with contextlib.suppress(OSError):
        while data := far.recv(CHUNK):
            far.sendall(data)


class BenchConsoles(Consoles):
    """Let everybody in."""

    def __init__(self) -> None:
        """Need nothing."""

    def open(self, asked: Asked) -> Console:
        """Open a machine by its name."""
        nobody = UUID(int=0)
        return Console(asked, nobody, nobody, None, 0, machine(asked.vm_name))  # type: ignore[arg-type]

    def close(self, console: Console) -> None:
        """Close the line."""
        console.line.close()

    def renew(self, asked: Asked) -> None:
        """Do nothing."""

    def why_ended(self, console: Console) -> CloseReason:  # noqa: ARG002 - all end alike
        """Say that it is off."""
        return CloseReason.OFF


async def relay(reader: socket.socket) -> None:
    """Carry bytes between a client and the machine it names in its first eight bytes, as plainly as asyncio can."""
    loop = asyncio.get_running_loop()
    name = (await loop.sock_recv(reader, 8)).decode().strip()
    line = machine(name)
    line.settimeout(0)
    with reader, line:
        ways = [asyncio.create_task(carry(*pair)) for pair in ((line, reader), (reader, line))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def carry(source: socket.socket, target: socket.socket) -> None:
    """Carry one way."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, CHUNK):
        await loop.sock_sendall(target, data)


async def accept(port: int) -> None:
    """Accept the relay's clients."""
    loop = asyncio.get_running_loop()
    relays = set()
    with socket.create_server(("127.0.0.1", port)) as listener:
        listener.settimeout(0)
        while True:
            client, _ = await loop.sock_accept(listener)
            client.settimeout(0)
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            relays.add(asyncio.create_task(relay(client)))


async def main(web: int, bare: int) -> None:
    """Serve both."""
    app = Litestar([*console_pages(BenchConsoles())], openapi_config=None, logging_config=None)
    config = uvicorn.Config(
        app, port=web, log_config=None, access_log=False, **WEBSOCKETS, **guarded(Door(1000))
    )
    await asyncio.gather(uvicorn.Server(config).serve(), accept(bare))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
