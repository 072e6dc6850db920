"""A server that has a hundred networks, and how fast packets pass OVN beside a plain Linux bridge."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from bench.figure import Figure, say
from bench.server import running_server, unbounded_catalogue, wait_until
from bench.stage import Stage
from bench.streams import streams

NETWORKS: Final = 100
STARTS: Final = 3
EXTERNAL_RANGE: Final = "198.19.64.0/18"
"""Apart from that of the server which other benchmarks share."""


def measure(stage: Stage) -> list[Figure]:
    """Start a server with one network and with many; let streams run."""
    return [*starts(stage.folder / "networks"), *streams()]


def starts(folder: Path) -> list[Figure]:
    """Compare starts: from the process to its first healthy answer, real OVN."""
    catalogue = folder.parent / "networks.toml"
    catalogue.parent.mkdir(parents=True, exist_ok=True)
    catalogue.write_text(catalogue_text())
    settings = {"CUMULET_CATALOGUE": str(catalogue)}
    make_networks(folder, range(1), settings)
    one = started(folder, settings)
    make_networks(folder, range(1, NETWORKS), settings)
    many = started(folder, settings)
    words = f"{many:.2f} s, with 1 network {one:.2f} s ({many / one:.2f} ×)"
    return [Figure(f"start to healthy with {NETWORKS} networks", words)]


def catalogue_text() -> str:
    """Give the catalogue of who has none, with another external range."""
    return unbounded_catalogue().replace(
        'external_range = "198.19.0.0/18"', f'external_range = "{EXTERNAL_RANGE}"'
    )


def make_networks(folder: Path, numbers: range, settings: dict[str, str]) -> None:
    """Ask for networks and wait until all are there."""
    say(f"networks: making {len(numbers)}")
    with running_server(folder, **settings) as server:
        for number in numbers:
            wanted = {"id": f"net-{number}", "dataCenterId": "local", "ipRange": f"10.1.{number}.0/24"}
            server.ask("POST", "networks", json=wanted)
        wait_until(
            lambda: all(one["state"] == "ACTIVE" for one in server.ask("GET", "networks")["networks"]),
            "all networks are there",
            pause=0.5,
        )


def started(folder: Path, settings: dict[str, str]) -> float:
    """Give the quickest of some starts, in seconds."""
    times = []
    for _ in range(STARTS):
        began = time.perf_counter()
        with running_server(folder, **settings):
            times.append(time.perf_counter() - began)
    say(f"networks: started in {', '.join(f'{took:.2f}' for took in times)} s")
    return min(times)
