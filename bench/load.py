"""A client that costs little, in a process of its own: some connections that ask the same again and again for some seconds.

    KEY=… python -m bench.load URL PATH SECONDS CONNECTIONS

A PATH with a `{}` in it is asked for with the numbers of a crowd, one after the other.
Prints JSON: see `Load`. A library's client costs more than the server that it measures.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Final
from urllib.parse import urlsplit

import msgspec
from bench.figure import CROWD, percentile

BUFFER_BYTES: Final = 1 << 23
CONTENT_LENGTH: Final = re.compile(rb"content-length: (\d+)", re.IGNORECASE)


class Load(msgspec.Struct, frozen=True):
    """What the client saw."""

    per_second: float
    p50_ms: float
    p99_ms: float
    body_bytes: int


async def load(host: str, port: int, requests: Sequence[bytes], *, seconds: float, connections: int) -> Load:
    """Ask on all connections at once."""
    end, turns = time.perf_counter() + seconds, cycle(requests)
    seen = await asyncio.gather(*(ask_until(end, host, port, turns) for _ in range(connections)))
    times = [took * 1000 for each, _ in seen for took in each]
    return Load(len(times) / seconds, percentile(times, 50), percentile(times, 99), seen[0][1])


async def ask_until(end: float, host: str, port: int, turns: Iterator[bytes]) -> tuple[list[float], int]:
    """Ask on one connection; give the seconds that each answer took, and the size of the last."""
    reader, writer = await asyncio.open_connection(host, port, limit=BUFFER_BYTES)
    took, size = [], 0
    while (began := time.perf_counter()) < end:
        writer.write(next(turns))
        size = await read_answer(reader)
        took.append(time.perf_counter() - began)
    writer.close()
    return took, size


async def read_answer(reader: asyncio.StreamReader) -> int:
    """Read one answer; gives the size of its body. RuntimeError when it is a refusal."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = CONTENT_LENGTH.search(head)
    if not head.startswith(b"HTTP/1.1 200") or length is None:
        raise RuntimeError(f"not what was asked for: {head.decode()}")
    return len(await reader.readexactly(int(length[1])))


def main(url: str, path: str, seconds: str, connections: str) -> None:
    """Print what was seen."""
    host, _, port = urlsplit(url).netloc.partition(":")
    head = f"HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {os.environ['KEY']}\r\n\r\n"
    paths = dict.fromkeys(path.format(number) for number in range(CROWD))
    requests = [f"GET {one} {head}".encode() for one in paths]
    asking = load(host, int(port), requests, seconds=float(seconds), connections=int(connections))
    seen = asyncio.run(asking)
    print(msgspec.json.encode(seen).decode())


if __name__ == "__main__":
    main(*sys.argv[1:])
