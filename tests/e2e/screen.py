"""The beginning of RFB (RFC 6143), as a viewer behind a websocket of the cloud speaks it: until the screen tells its name."""

from __future__ import annotations

from websockets.sync.client import ClientConnection, connect

VERSION = b"RFB 003.008\n"
NO_PASSWORD = b"\x01"
SHARED = b"\x01"
BEFORE_NAME = 24
"""Bytes of ServerInit up to the name, of which the last four are its length."""


class Screen:
    """A line to a screen, read by the byte."""

    def __init__(self, line: ClientConnection) -> None:
        self.line = line
        self.heard = b""

    def take(self, count: int) -> bytes:
        """The next bytes."""
        while len(self.heard) < count:
            data = self.line.recv(timeout=60)
            assert isinstance(data, bytes), data
            self.heard += data
        taken, self.heard = self.heard[:count], self.heard[count:]
        return taken


def name_of_screen(page: str, ticket: str) -> str:
    """Open the screen that a page shows and be greeted; QEMU names it after its machine."""
    with connect(f"ws{page.removeprefix('http')}/socket", proxy=None, compression=None) as line:
        line.send(ticket)
        assert line.recv(timeout=60) == "open"
        screen = Screen(line)
        assert screen.take(len(VERSION)) == VERSION
        line.send(VERSION)
        assert NO_PASSWORD in screen.take(screen.take(1)[0])
        line.send(NO_PASSWORD)
        assert screen.take(4) == bytes(4)
        line.send(SHARED)
        length = int.from_bytes(screen.take(BEFORE_NAME)[-4:])
        return screen.take(length).decode()
