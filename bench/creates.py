"""A client that costs little, in a process of its own: a few connections that ask for VMs until all are asked for.

    KEY=… python -m bench.creates URL VMS CONNECTIONS

Says when it is ready, begins with a line on stdin, and ends once all are accepted.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import msgspec
from bench.load import BUFFER_BYTES, read_answer
from bench.server import smallest_vm


async def ask(host: str, port: int, requests: Iterator[bytes]) -> None:
    """Ask on one connection for as long as there is something left to ask for."""
    reader, writer = await asyncio.open_connection(host, port, limit=BUFFER_BYTES)
    for request in requests:
        writer.write(request)
        await read_answer(reader)
    writer.close()


async def ask_on(host: str, port: int, requests: Iterator[bytes], connections: int) -> None:
    """Ask on all connections at once."""
    await asyncio.gather(*(ask(host, port, requests) for _ in range(connections)))


def main(url: str, vms: str, connections: str) -> None:
    """Make the requests, and send them when told to."""
    host, _, port = urlsplit(url).netloc.partition(":")
    head = (
        f"POST /v1/projects/default/vm HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {os.environ['KEY']}"
    )
    bodies = [msgspec.json.encode(smallest_vm(f"vm-{number}")) for number in range(int(vms))]
    requests = [f"{head}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body for body in bodies]
    print("ready", flush=True)
    sys.stdin.readline()
    asyncio.run(ask_on(host, int(port), iter(requests), int(connections)))


if __name__ == "__main__":
    main(*sys.argv[1:])
