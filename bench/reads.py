"""GetVM and ListVMs of a thousand VMs, beside a bare Litestar route whose answer is as large.

Each server is one uvicorn process, and the same client asks both with as many connections for as long, in turns.
The list is also set beside the least that any server must do for it: to encode the structs that it is made of.

Promised is what clients do most: they poll, and nothing has changed; and the same in a cloud where twenty VMs a second
are changed, for each commit ends all answers that are kept. Beside it stands what GetVM costs when no answer ever was,
for everybody asks for another VM than was asked for since the last commit.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from statistics import median
from typing import Final

import msgspec
from bench.figure import CROWD, Figure, at_least, at_most, say
from bench.load import Load
from bench.server import Server, answers, next_port, wait_until
from bench.stage import Stage

from cumulet.vms.wire import ListVmsResponse

SECONDS: Final = 2.5
CONNECTIONS: Final = 4
ENCODINGS: Final = 50
TURNS: Final = 3
CHANGES_A_SECOND: Final = 20
LEAST_OF_BARE: Final = 0.35
MOST_ENCODINGS: Final = 6
VMS: Final = "/v1/projects/default/vms"
ONE: Final = f"{VMS}/vm-0500"
IN_TURN: Final = f"{VMS}/vm-{{:04}}"


def measure(stage: Stage) -> list[Figure]:
    """Ask for one VM and for all, while nothing changes and while much does."""
    server = stage.crowded_server
    names = "GetVM", f"ListVMs of {CROWD} with disks and NICs"
    figures = [
        *beside_bare(names[0], server, ONE, promised),
        *beside_bare(names[1], server, VMS, promised),
        beside_encoding(names[1], server, promised=True),
    ]
    with changing(server):
        words = f"{CHANGES_A_SECOND} changes a second"
        figures += [
            *beside_bare(f"{names[0]}, {words}", server, ONE, promised),
            *beside_bare(f"{names[0]} of all in turn, {words}", server, IN_TURN, told),
            *beside_bare(f"{names[1]}, {words}", server, VMS, promised),
            beside_encoding(f"{names[1]}, {words}", server, promised=False),
        ]
    return figures


def beside_bare(
    name: str, server: Server, path: str, figure: Callable[[str, float, str], Figure]
) -> list[Figure]:
    """Ask for something as often as can be, in turns with a bare route, and compare."""
    say(f"reads: {name}")
    size = ask(server.url, path, server.key).body_bytes
    with bare_route(size) as bare_url:
        turns = [(ask(server.url, path, server.key), ask(bare_url, "/", "-")) for _ in range(TURNS)]
    ours, bare = map(middle, zip(*turns, strict=True))
    rates = f"{ours.per_second:.0f}/s, bare {bare.per_second:.0f}/s, {ours.body_bytes} bytes"
    return [
        figure(f"{name}: requests per second", ours.per_second / bare.per_second, rates),
        Figure(f"{name}: p99", f"{ours.p99_ms:.1f} ms (bare {bare.p99_ms:.1f} ms)"),
    ]


def promised(name: str, ratio: float, rates: str) -> Figure:
    """Give a ratio that must not be below its limit."""
    return at_least(name, ratio, LEAST_OF_BARE, unit="× bare", detail=rates)


def told(name: str, ratio: float, rates: str) -> Figure:
    """Give a ratio that nothing is promised of."""
    return Figure(name, f"{ratio:.2f} × bare ({rates})")


def beside_encoding(name: str, server: Server, *, promised: bool) -> Figure:
    """Set the list, as one caller waits for it, beside encoding its structs."""
    say(f"reads: {name} beside encoding")
    asked = middle([ask(server.url, VMS, server.key, connections=1) for _ in range(TURNS)])
    encoding = encoding_ms(msgspec.json.decode(server.api.get(VMS).content, type=ListVmsResponse))
    ratio, times = asked.p50_ms / encoding, f"p50 {asked.p50_ms:.1f} ms, encoding {encoding:.1f} ms"
    if promised:
        return at_most(f"{name}, one caller", ratio, MOST_ENCODINGS, unit="× encoding", detail=times)
    return Figure(f"{name}, one caller", f"{ratio:.1f} × encoding ({times})")


def encoding_ms(answer: ListVmsResponse) -> float:
    """Give the milliseconds that encoding takes."""
    encode = msgspec.json.Encoder().encode
    times = []
    for _ in range(ENCODINGS):
        began = time.perf_counter()
        encode(answer)
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


def middle(loads: Sequence[Load]) -> Load:
    """Give the median of each number."""
    return Load(*(median(getattr(one, name) for one in loads) for name in Load.__struct_fields__))


def ask(url: str, path: str, key: str, *, connections: int = CONNECTIONS) -> Load:
    """Have the client's process ask for some seconds."""
    command = (sys.executable, "-m", "bench.load", url, path, str(SECONDS), str(connections))
    told = subprocess.run(command, env={**os.environ, "KEY": key}, check=True, capture_output=True).stdout
    return msgspec.json.decode(told, type=Load)


@contextmanager
def changing(server: Server) -> Iterator[None]:
    """Change a label of one VM after the other, so many a second, for as long as the block lasts."""
    done = threading.Event()

    def change() -> None:
        for number in count():
            if done.wait(1 / CHANGES_A_SECOND):
                return
            labels = {"metadata": {"turn": str(number)}}
            server.ask("POST", f"vm/vm-{number % CROWD:04}/metadata", json=labels)

    changer = threading.Thread(target=change)
    changer.start()
    try:
        yield
    finally:
        done.set()
        changer.join()


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
