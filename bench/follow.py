"""Five hundred who follow a project's events: what each takes of the server, and how soon an event has reached all."""

from __future__ import annotations

import select
import socket
import time
from contextlib import ExitStack, closing
from importlib.resources import files
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit

from bench.figure import Figure, at_most, say
from bench.idle import cpu_seconds, resident_mib
from bench.server import Server, running_server
from bench.stage import MADE_UP_HOSTS, Stage

STREAMS: Final = 500
MOST_KIB: Final = 60
MOST_PERCENT: Final = 2
MOST_MS: Final = 300
SECONDS: Final = 45
"""Three heartbeats of each."""
TURNS: Final = 10
EVENT: Final = b'"event":"network.create_requested"'
ASK: Final = (
    "GET /v1/projects/default/events/stream HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {key}\r\n\r\n"
)


def measure(stage: Stage) -> list[Figure]:
    """Open all, let them be, and have something happen."""
    folder = stage.folder / "follow"
    settings = {"CUMULET_HYPERVISOR": MADE_UP_HOSTS, "CUMULET_CATALOGUE": str(with_room(folder))}
    server = stage.enter_context(running_server(folder, **settings))
    with ExitStack() as lines:
        lines.enter_context(closing(opened(server)))  # the first of all brings what all share
        before = resident_mib(server.pid)
        say(f"follow: {STREAMS} streams, silent for {SECONDS} s")
        streams = [lines.enter_context(closing(opened(server))) for _ in range(STREAMS)]
        kib = (resident_mib(server.pid) - before) * 1024 / STREAMS
        began = cpu_seconds(server.pid)
        time.sleep(SECONDS)
        percent = (cpu_seconds(server.pid) - began) / SECONDS * 100
        say("follow: events")
        began = cpu_seconds(server.pid)
        times = [reached(server, number, streams) for number in range(TURNS)]
        each = (cpu_seconds(server.pid) - began) / TURNS * 1000
    return [
        at_most(f"{STREAMS} event streams: memory of each", kib, MOST_KIB, unit="KiB"),
        at_most(
            f"{STREAMS} event streams: CPU while nothing happens", percent, MOST_PERCENT, unit="% of a core"
        ),
        at_most(
            f"{STREAMS} event streams: from a request to its event at all of them, p50",
            median(times),
            MOST_MS,
            unit="ms",
            detail=f"{each:.0f} ms of CPU, the request's included",
        ),
    ]


def with_room(folder: Path) -> Path:
    """Write a catalogue that lets one user have so many streams."""
    text = (files("cumulet.catalogue") / "default.toml").read_text()
    folder.mkdir(parents=True, exist_ok=True)
    catalogue = folder / "catalogue.toml"
    catalogue.write_text(text.replace("streams_per_user = 32 ", f"streams_per_user = {2 * STREAMS} "))
    return catalogue


def opened(server: Server) -> socket.socket:
    """Open a stream, and return when it has begun."""
    where = urlsplit(server.url)
    line = socket.create_connection((where.hostname, where.port))
    line.sendall(ASK.format(key=server.key).encode())
    head = b""
    while b"retry:" not in head:
        head += line.recv(4096)
    return line


def reached(server: Server, number: int, streams: list[socket.socket]) -> float:
    """Give the milliseconds from a request until what it did was told on all streams."""
    drain(streams)
    began = time.perf_counter()
    server.ask(
        "POST",
        "networks",
        json={"dataCenterId": "local", "id": f"net-{number}", "cidrPrefix": f"10.{number}.0.0/24"},
    )
    waiting, heard = set(streams), dict.fromkeys(streams, b"")
    while waiting:
        ready, _, _ = select.select(waiting, [], [], 30)
        if not ready:
            raise TimeoutError(f"{len(waiting)} streams were told nothing")
        for line in ready:
            heard[line] += line.recv(65536)
            if EVENT in heard[line]:
                waiting.discard(line)
    return (time.perf_counter() - began) * 1000


def drain(streams: list[socket.socket]) -> None:
    """Read what is left of what happened before."""
    time.sleep(1)
    while ready := select.select(streams, [], [], 0)[0]:
        for line in ready:
            line.recv(65536)
