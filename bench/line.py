"""A call over the line to a helper in a process of its own, beside the same call in this one and a bare echo of the socket's.

The host is made up, so that what is measured is the line and not libvirt.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from bench.figure import Figure, at_most, say
from bench.stage import Stage

from cumulet.hypervisor.memory import memory_hosts
from cumulet.line.connections import dial_unix
from cumulet.line.far_host import FarHost
from cumulet.line.wire import DATA_DIR, HostWish

CALLS: Final = 2000
P50_MS: Final = 1.0
HELPER: Final = """
import socket, sys, threading
from cumulet.hypervisor.memory import memory_hosts
from cumulet.line.helper import Helper

def echo(listener):
    while True:
        link, _ = listener.accept()
        while data := link.recv(4096):
            link.sendall(data)

(host,) = memory_hosts("memory:", pools=("local",)).values()
listeners = []
for path in sys.argv[1:]:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    listeners.append(listener)
threading.Thread(target=echo, args=(listeners[1],), daemon=True).start()
Helper(listeners[0], lambda _: host).serve(idle_seconds=600)
"""


def measure(_stage: Stage) -> list[Figure]:
    """Measure a call in this process, over the line, and an echo of as many bytes, in turns."""
    say("line: calls")
    (near,) = memory_hosts("memory:", pools=("local",)).values()
    with helper() as (place, echo):
        far = FarHost(partial(dial_unix, str(place)), HostWish("bench", DATA_DIR, {"local": None}))
        far.ping()
        took = [(ms(near.facts), ms(far.facts), ms(echo)) for _ in range(CALLS)]
        far.close()
    here, line, bare = (median(column) for column in zip(*took, strict=True))
    detail = f"in process {here:.3f} ms, a bare echo {bare:.3f} ms"
    return [at_most("line: a call, p50", line, P50_MS, unit="ms", detail=detail)]


@contextmanager
def helper() -> Iterator[tuple[Path, Callable[[], object]]]:
    """Run a helper and an echo in a process; gives where the one listens, and what asks the other."""
    with tempfile.TemporaryDirectory() as folder:
        places = Path(folder) / "helper", Path(folder) / "echo"
        with subprocess.Popen((sys.executable, "-c", HELPER, *places)) as process:
            wait(places)
            with socket.socket(socket.AF_UNIX) as link:
                link.connect(str(places[1]))
                yield places[0], lambda: (link.sendall(bytes(64)), link.recv(4096))
            process.terminate()


def wait(places: tuple[Path, ...]) -> None:
    """Return once all of them are there."""
    while not all(place.exists() for place in places):
        time.sleep(0.01)


def ms(call: Callable[[], object]) -> float:
    """How long a call takes."""
    before = time.perf_counter()
    call()
    return (time.perf_counter() - before) * 1000
