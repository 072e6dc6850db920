"""What passes a console's bridge, beside a bare relay of sockets in the same manner: much at once, and one key press.

Both run in one server process, carry the same bytes from the same kind of socket, and answer the same client, in turns.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Final
from urllib.parse import urlsplit

from bench.figure import Figure, at_least, say
from bench.server import answers, next_port, wait_until
from bench.stage import Stage

SECONDS: Final = 2.0
TURNS: Final = 5
PRESSES: Final = 2000
SHARE: Final = 0.8
MEBIBYTE: Final = 1024 * 1024
KEY: Final = b"\x82\x81\0\0\0\0k"
"""One byte in a websocket's frame, masked with zeros."""
HANDSHAKE: Final = (
    "GET /console/bench/{vm}/screen/socket HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TICKET: Final = b"\x81\x81\0\0\0\0t"
WELCOME: Final = b"\x81\x04open"
Opened = Callable[[str], socket.socket]


def measure(_stage: Stage) -> list[Figure]:
    """Measure both, flood and key press."""
    with servers() as (bridged, bare):
        say("console: a flood")
        floods = [(flood(bridged), flood(bare)) for _ in range(TURNS)]
        say("console: key presses")
        presses = [(press(bridged, KEY, answer=3), press(bare, b"k", answer=1)) for _ in range(TURNS)]
    ours, raw = (median(column) for column in zip(*floods, strict=True))
    slow, fast = (median(column) for column in zip(*presses, strict=True))
    detail = f"{ours / MEBIBYTE:.0f} MiB/s, bare relay {raw / MEBIBYTE:.0f} MiB/s"
    return [
        at_least("console: throughput", ours / raw, SHARE, unit="× bare relay", detail=detail),
        Figure(
            "console: a key press there and back, p50",
            f"{slow:.2f} ms (bare relay {fast:.2f} ms, so the bridge adds {slow - fast:.2f} ms)",
        ),
    ]


@contextmanager
def servers() -> Iterator[tuple[Opened, Opened]]:
    """Run both; gives how to open a line to a machine of that name through each."""
    web, relay = next_port(), next_port()
    process = subprocess.Popen((sys.executable, "-m", "bench.console_server", str(web), str(relay)))
    try:
        wait_until(lambda: answers(f"http://127.0.0.1:{web}/console/bench/echo/screen"), "the server answers")
        yield lambda vm: open_bridge(f"http://127.0.0.1:{web}", vm), lambda vm: open_relay(relay, vm)
    finally:
        process.terminate()
        process.wait()


def open_bridge(url: str, vm: str) -> socket.socket:
    """Open a console's websocket by hand, so that the client costs as little as the bare one."""
    where = urlsplit(url)
    line = socket.create_connection((where.hostname, where.port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(HANDSHAKE.format(vm=vm).encode())
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line.recv(1)
    line.sendall(TICKET)
    read_exactly(line, len(WELCOME))
    return line


def open_relay(port: int, vm: str) -> socket.socket:
    """Open a line through the bare relay."""
    line = socket.create_connection(("127.0.0.1", port))
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    line.sendall(vm.ljust(8).encode())
    return line


def flood(opened: Opened) -> float:
    """Give the bytes a second that come from a machine that never stops."""
    with opened("flood") as line:
        room = bytearray(4 * MEBIBYTE)
        got, began = 0, time.perf_counter()
        while (took := time.perf_counter() - began) < SECONDS:
            got += line.recv_into(room)
        return got / took


def press(opened: Opened, key: bytes, *, answer: int) -> float:
    """Give the milliseconds from a key press to its echo."""
    times = []
    with opened("echo") as line:
        for _ in range(PRESSES):
            began = time.perf_counter()
            line.sendall(key)
            read_exactly(line, answer)
            times.append((time.perf_counter() - began) * 1000)
    return median(times)


def read_exactly(line: socket.socket, count: int) -> None:
    """Read so many bytes."""
    while count:
        count -= len(line.recv(count))
