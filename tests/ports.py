"""Ports for servers that cannot choose one themselves."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

PORTS = range(10_000, 32_000)
"""Those that Linux gives to whoever dials begin beyond: on a busy machine one that was free a moment ago is given away."""


def free_port() -> int:
    """Give a port of this machine that nobody has."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
