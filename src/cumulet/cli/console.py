"""A VM's serial console in one's own terminal.

What is typed goes to the guest as it is, Ctrl-C included; only Ctrl-] is for us. What the guest prints goes to the
terminal as it is, for a terminal is what a console is. When stdin is no terminal it is sent, and then the guest is
listened to until somebody ends it.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import termios
import threading
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from cumulet.cli.client import Client, quoted
from cumulet.cli.config import is_local
from cumulet.cli.follow import VM, Failed
from cumulet.errors import Unavailable

LEAVE: Final = b"\x1d"
"""Ctrl-], as in telnet and virsh."""
CHUNK: Final = 4096
STDIN, STDOUT = 0, 1
BROKEN: Final = "the connection broke"


def sit_at(client: Client, project: str, name: str) -> None:
    """Be the VM's terminal until Ctrl-] or its end; Failed says why it ended, Unavailable that it cannot be reached."""
    ticket = client.get(f"{VM}/connect", project, name)["token"]
    with open_line(client, project, name) as line:
        line.send(ticket)
        try:
            line.recv()
            print_note(f"connected to the console of {name}: press Enter for a prompt, Ctrl-] to leave")
            with raw_terminal():
                converse(line)
        except ConnectionClosed as end:
            raise Failed(end.rcvd.reason if end.rcvd and end.rcvd.reason else BROKEN) from None


@contextmanager
def open_line(client: Client, project: str, name: str) -> Iterator[ClientConnection]:
    """Open the websocket behind the page; Unavailable when something on the way does not let it through."""
    url = client.url.replace("http", "ws", 1)
    path = f"/console/{quoted(project)}/{quoted(name)}/serial/socket"
    try:
        line = connect(
            f"{url}{path}", compression=None, proxy=None if is_local(url) else True, ssl=client.tls
        )
    except (OSError, InvalidHandshake) as problem:
        raise Unavailable(
            f"no websocket to {url} ({problem}); does a proxy in front of it block them?"
        ) from None
    with line:
        yield line


def converse(line: ClientConnection) -> None:
    """Carry keys and prints; returns at Ctrl-], raises ConnectionClosed at the console's end."""
    ended, end = socket.socketpair()
    listener = threading.Thread(target=print_all, args=(line, end), daemon=True)
    listener.start()
    sources = [STDIN, ended.fileno()]
    with ended, end:
        while True:
            ready, _, _ = select.select(sources, [], [])
            if ended.fileno() in ready:
                line.recv()  # raises what ended it
            typed = os.read(STDIN, CHUNK)
            if LEAVE in typed:
                line.send(typed.partition(LEAVE)[0])
                return
            if not typed:
                sources.remove(STDIN)
            line.send(typed)


def print_all(line: ClientConnection, end: socket.socket) -> None:
    """Print what the guest does; wake the other thread when it ends."""
    try:
        for data in line:
            write_all(data.encode() if isinstance(data, str) else data)
    except ConnectionClosed:
        pass
    finally:
        end.close()


def write_all(data: bytes) -> None:
    """Write to stdout, whole."""
    while data:
        data = data[os.write(STDOUT, data) :]


@contextmanager
def raw_terminal() -> Iterator[None]:
    """Have keys come one by one and unread, if stdin is a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(STDIN)
    try:
        tty.setraw(STDIN)
        yield
    finally:
        termios.tcsetattr(STDIN, termios.TCSADRAIN, before)
        print_note("")


def print_note(words: str) -> None:
    """Say something beside what the guest prints."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()
