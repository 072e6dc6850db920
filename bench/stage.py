"""What benchmarks share: a folder, and servers that start when the first benchmark asks for them."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import Final

from bench.figure import say
from bench.server import Server, running_server, wait_until

MADE_UP_HOSTS: Final = "memory:?hosts=20"
CROWD: Final = 1000


class Stage(ExitStack):
    """The private host's folder and the servers on it; all end with the block."""

    folder = Path(os.environ["LAB_DIR"]) / "bench"

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
        """A server on made-up hosts with a thousand VMs, settled."""
        server = self.made_up_server("crowded")
        say(f"creating {CROWD} VMs on made-up hosts")
        for number in range(CROWD):
            server.create(f"vm-{number:04}")
        wait_until(lambda: server.count_in("ACTIVE") == CROWD, "all VMs run", pause=1)
        return server
