"""GetVM and ListVMs of a thousand VMs, beside a bare Litestar route whose answer is as large.

Each server is one uvicorn process, and the same client asks both with as many connections for as long, in turns.
The list is also set beside the least that any server must do for it: to encode the structs that it is made of.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from statistics import median
from typing import Final

import msgspec
from bench.figure import Figure, say
from bench.load import Load
from bench.server import Server, answers, next_port, wait_until
from bench.stage import CROWD, Stage

from cumulet.vms.wire import ListVmsResponse

SECONDS: Final = 2.5
CONNECTIONS: Final = 4
ENCODINGS: Final = 50
TURNS: Final = 3
PATHS: Final = {"GetVM": "/v1/projects/default/vms/vm-0500", "ListVMs": "/v1/projects/default/vms"}


def measure(stage: Stage) -> list[Figure]:
    """Ask for one VM and for all."""
    server = stage.crowded_server
    figures = []
    for name, path in PATHS.items():
        say(f"reads: {name}")
        size = ask(server.url, path, server.key).body_bytes
        with bare_route(size) as bare_url:
            turns = [(ask(server.url, path, server.key), ask(bare_url, "/", "-")) for _ in range(TURNS)]
        ours, bare = zip(*turns, strict=True)
        figures += compared(name, middle(ours), middle(bare))
    return [*figures, beside_encoding(server)]


def beside_encoding(server: Server) -> Figure:
    """Set the list, as one caller waits for it, beside encoding its structs."""
    say("reads: ListVMs beside encoding")
    asked = middle([ask(server.url, PATHS["ListVMs"], server.key, connections=1) for _ in range(TURNS)])
    body = server.api.get(PATHS["ListVMs"]).content
    encoding = encoding_ms(msgspec.json.decode(body, type=ListVmsResponse))
    times = f"p50 {asked.p50_ms:.0f} ms, encoding {encoding:.1f} ms"
    name = f"ListVMs of {CROWD} VMs with disks and NICs, one caller"
    return Figure(name, f"{asked.p50_ms / encoding:.0f} × encoding its structs ({times})")


def encoding_ms(answer: ListVmsResponse) -> float:
    """Give the milliseconds that encoding takes."""
    encode = msgspec.json.Encoder().encode
    times = []
    for _ in range(ENCODINGS):
        began = time.perf_counter()
        encode(answer)
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


def compared(name: str, ours: Load, bare: Load) -> list[Figure]:
    """Set ours beside the bare route's."""
    rates = f"{ours.per_second:.0f}/s, bare {bare.per_second:.0f}/s, {ours.body_bytes} bytes"
    rate = ours.per_second / bare.per_second
    return [
        Figure(f"{name}: requests per second", f"{rate:.2f} × bare ({rates})"),
        Figure(f"{name}: p99", f"{ours.p99_ms:.1f} ms (bare {bare.p99_ms:.1f} ms)"),
    ]


def middle(loads: Sequence[Load]) -> Load:
    """Give the median of each number."""
    return Load(*(median(getattr(one, name) for one in loads) for name in Load.__struct_fields__))


def ask(url: str, path: str, key: str, *, connections: int = CONNECTIONS) -> Load:
    """Have the client's process ask for some seconds."""
    command = (sys.executable, "-m", "bench.load", url, path, str(SECONDS), str(connections))
    told = subprocess.run(command, env={**os.environ, "KEY": key}, check=True, capture_output=True).stdout
    return msgspec.json.decode(told, type=Load)


@contextmanager
def bare_route(size: int) -> Iterator[str]:
    """Run the bare route; gives its URL."""
    port = next_port()
    process = subprocess.Popen((sys.executable, "-m", "bench.bare", str(port), str(size)))
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(url), f"{url} answers")
        yield url
    finally:
        process.terminate()
        process.wait()
