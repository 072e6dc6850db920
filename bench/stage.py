"""What benchmarks share: a folder, and servers that start when the first benchmark asks for them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from bench.figure import CROWD, say
from bench.server import Server, running_server, wait_until

MADE_UP_HOSTS: Final = "memory:?hosts=20"
SETTLES_WITHIN: Final = 300
"""Seconds, where the CPU is shared."""


class Stage(ExitStack):
    """The private host's folder and the servers on it; all end with the block."""

    folder = Path(os.environ["LAB_DIR"]) / "bench"

    def __enter__(self) -> Self:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return super().__enter__()

    def made_up_server(self, name: str) -> Server:
        """Start a server of its own on made-up hosts."""
        return self.enter_context(running_server(self.folder / name, CUMULET_HYPERVISOR=MADE_UP_HOSTS))

    @cached_property
    def real_server(self) -> Server:
        """A server on this machine's libvirt and OVN."""
        say("starting a server on real libvirt and OVN")
        return self.enter_context(running_server(self.folder / "real"))

    @cached_property
    def crowded_server(self) -> Server:
        """A server on made-up hosts with a thousand VMs, each with a storage disk and a NIC of its own, settled."""
        server = self.made_up_server("crowded")
        say(f"creating {CROWD} VMs with a storage disk each on made-up hosts")
        for number in range(CROWD):
            server.ask(
                "POST", "disks", json={"dataCenterId": "local", "id": f"data-{number:04}", "sizeGib": 1}
            )
        wait_until(server.is_settled, "all disks are made", within=SETTLES_WITHIN, pause=1)
        for number in range(CROWD):
            nic = {"assignPublicIp": True}
            server.create(f"vm-{number:04}", storageDiskIds=[f"data-{number:04}"], nics=[nic])
        wait_until(server.is_settled, "all guests are up", within=SETTLES_WITHIN, pause=1)
        if server.count_in("ACTIVE") != CROWD:
            raise RuntimeError(f"not all {CROWD} VMs run")
        return server
