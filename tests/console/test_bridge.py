"""The bridge alone: what a side does not take, the other does not give."""

import asyncio
import socket
from dataclasses import dataclass, field
from uuid import UUID

import pytest

from cumulet.console import CloseReason, Console, ConsoleRequest, Kind, bridge, relay
from cumulet.console.bridge import CHUNK

ROOM = 1 << 20
"""More than two sockets' buffers hold."""


@dataclass
class Viewer:
    """One who types what a test has him type, and takes what a test lets him."""

    typing: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    takes: asyncio.Event = field(default_factory=asyncio.Event)
    seen: int = 0

    async def receive(self) -> bytes | None:
        return await self.typing.get()

    async def send(self, data: bytes) -> None:
        await self.takes.wait()
        self.seen += len(data)


class NoConsoles:
    """Finds that the machine is not running."""

    def why_ended(self, _console):
        return CloseReason.OFF

    def renew(self, _asked):
        pass


def opened() -> tuple[Console, socket.socket]:
    line, machine = socket.socketpair()
    machine.settimeout(0)
    asked = ConsoleRequest(Kind.SCREEN, "default", "hello", "ticket")
    return Console(asked, UUID(int=1), UUID(int=2), None, 1, line), machine


async def push(machine: socket.socket, amount: int) -> int:
    """How much of that amount the machine gets rid of before nobody takes more."""
    gone = 0
    while gone < amount:
        try:
            gone += machine.send(bytes(min(65536, amount - gone)))
        except BlockingIOError:
            await asyncio.sleep(0.02)
            try:
                gone += machine.send(b"x")
            except BlockingIOError:
                return gone
    return gone


def test_a_machine_waits_for_a_viewer_who_takes_nothing():
    async def scene():
        console, machine = opened()
        viewer = Viewer()
        bridging = asyncio.create_task(relay(NoConsoles(), console, viewer))
        stuck_at = await push(machine, 50 * ROOM)
        assert stuck_at < ROOM + CHUNK
        viewer.takes.set()
        assert await push(machine, 5 * ROOM) == 5 * ROOM
        machine.close()
        assert await bridging is CloseReason.OFF
        assert viewer.seen == stuck_at + 5 * ROOM

    asyncio.run(scene())


def test_a_flood_that_is_taken_at_once_lets_others_in(monkeypatch):
    async def scene():
        console, machine = opened()
        viewer = Viewer()
        viewer.takes.set()
        left = 10_000

        async def always_more(_line, _size):
            nonlocal left
            left -= 1
            return b"x" if left > 0 else b""

        monkeypatch.setattr(asyncio.get_running_loop(), "sock_recv", always_more)
        bridging = asyncio.create_task(relay(NoConsoles(), console, viewer))
        for _ in range(10):
            await asyncio.sleep(0)
        assert left > 9_000
        assert await bridging is CloseReason.OFF
        machine.close()

    asyncio.run(scene())


def test_a_viewer_waits_for_a_machine_that_takes_nothing():
    async def scene():
        console, machine = opened()
        viewer = Viewer()
        for _ in range(50):
            viewer.typing.put_nowait(bytes(65536))
        bridging = asyncio.create_task(relay(NoConsoles(), console, viewer))
        await asyncio.sleep(0.1)
        waiting = viewer.typing.qsize()
        assert waiting > 30
        loop = asyncio.get_running_loop()
        for _ in range(200):
            await loop.sock_recv(machine, ROOM)
            if viewer.typing.empty():
                break
        viewer.typing.put_nowait(None)
        assert await bridging is None
        machine.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    ("typed", "end"), [(b"", CloseReason.SLOW), (bytes(4 * ROOM), CloseReason.NO_CONSOLE)]
)
def test_a_side_that_takes_nothing_for_too_long_is_let_go(monkeypatch, typed, end):
    monkeypatch.setattr(bridge, "STUCK_SECONDS", 0.1)
    monkeypatch.setattr(NoConsoles, "why_ended", lambda _self, _console: CloseReason.NO_CONSOLE)
    monkeypatch.setattr(bridge, "LOOK_SECONDS", 0)

    async def scene():
        console, machine = opened()
        viewer = Viewer()
        if typed:
            viewer.typing.put_nowait(typed)
        else:
            machine.send(b"a picture")
        assert await relay(NoConsoles(), console, viewer) is end
        assert console.line.fileno() == -1
        machine.close()

    asyncio.run(scene())
