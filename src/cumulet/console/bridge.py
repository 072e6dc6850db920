"""The bridge between a viewer's websocket and a machine's console: bytes both ways, each no faster than it is taken.

Nothing is queued here: a side is read again only when the other has taken what was read before. One that takes nothing
for a while is let go, so that what waits for it elsewhere stays small too.

    viewer ──▶ receive ──▶ sock_sendall ──▶ machine        asyncio, because thousands of these wait for a human
    viewer ◀── send ◀──── sock_recv ◀────── machine
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, Protocol

from anyio import to_thread

from cumulet.console.close_reasons import CloseReason, Ended
from cumulet.console.sessions import CHECK_SECONDS, Console, Consoles

CHUNK: Final = 256 * 1024
STUCK_SECONDS: Final = 20.0
"""How long either side may take nothing at all."""
IDLE_SECONDS: Final = 3600.0
LOOKS: Final = 8
"""After a machine let go, so often we look what has become of it: its host notices an end a moment later."""
LOOK_SECONDS: Final = 0.15


class Left(Exception):
    """The viewer has left."""


class Viewer(Protocol):
    """Whoever looks: a browser or a terminal behind a websocket."""

    async def receive(self) -> bytes | None:
        """Give what they typed or clicked; None when they have left."""

    async def send(self, data: bytes) -> None:
        """Return when there is room for more; Left when they have left."""


async def relay(consoles: Consoles, console: Console, viewer: Viewer) -> CloseReason | None:
    """Carry bytes until a side leaves; gives the reason, None when the viewer left."""
    activity = Activity()
    console.line.settimeout(0)
    try:
        end = await first_of(
            to_viewer(console.line, viewer, activity),
            to_machine(console.line, viewer, activity),
            activity.run_out(),
            keep_good(consoles, console),
        )
    except Left:
        return None
    finally:
        console.line.close()
    return await reason(consoles, console) if end is CloseReason.NO_CONSOLE else end


class Activity:
    """When something last passed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()

    def note(self) -> None:
        """Something passes now."""
        self._last = self._loop.time()

    async def run_out(self) -> CloseReason:
        """Return when nothing has passed for too long."""
        while (left := self._last + IDLE_SECONDS - self._loop.time()) > 0:  # noqa: ASYNC110 - an event for each byte costs more
            await asyncio.sleep(left)
        return CloseReason.IDLE


async def to_viewer(line: socket.socket, viewer: Viewer, activity: Activity) -> CloseReason | None:
    """Carry what the machine shows."""
    loop = asyncio.get_running_loop()
    with suppress(ConnectionError):
        while data := await loop.sock_recv(line, CHUNK):
            activity.note()
            try:
                async with asyncio.timeout(STUCK_SECONDS):
                    await viewer.send(data)
                    await asyncio.sleep(0)  # a flood that is taken at once would let nobody else in
            except TimeoutError:
                return CloseReason.SLOW
    return CloseReason.NO_CONSOLE


async def to_machine(line: socket.socket, viewer: Viewer, activity: Activity) -> CloseReason | None:
    """Carry what the viewer does."""
    loop = asyncio.get_running_loop()
    while (data := await viewer.receive()) is not None:
        activity.note()
        try:
            async with asyncio.timeout(STUCK_SECONDS):
                await loop.sock_sendall(line, data)
        except (TimeoutError, ConnectionError):
            return CloseReason.NO_CONSOLE
    return None


async def keep_good(consoles: Consoles, console: Console) -> CloseReason:
    """Keep the ticket good; return when its holder has lost their right."""
    while True:
        try:
            await to_thread.run_sync(consoles.renew, console.request)
        except Ended as ended:
            return ended.end
        await asyncio.sleep(CHECK_SECONDS)


async def first_of(*ways: Coroutine[Any, Any, CloseReason | None]) -> CloseReason | None:
    """Give what the first to finish gives, and end the others."""
    tasks = [asyncio.create_task(way) for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return done.pop().result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def reason(consoles: Consoles, console: Console) -> CloseReason:
    """Find out why the machine let go."""
    end = CloseReason.NO_CONSOLE
    for _ in range(LOOKS):
        end = await to_thread.run_sync(consoles.why_ended, console)
        if end not in {CloseReason.NO_CONSOLE, CloseReason.TAKEN_OVER}:
            return end
        await asyncio.sleep(LOOK_SECONDS)
    return end
