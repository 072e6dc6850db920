"""Which DNS servers this machine asks."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path
from typing import Final

RESOLVER_FILES: Final = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))
"""The first that names any is right: beside systemd-resolved the second names only its stub."""


def find_resolvers() -> tuple[IPv4Address, ...]:
    """Read the DNS servers of this machine that guests can reach too: systemd-resolved's own, else resolv.conf's."""
    for path in RESOLVER_FILES:
        words = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        named = [
            line[1] for line in words if len(line) > 1 and line[0] == "nameserver" and ":" not in line[1]
        ]
        usable = tuple(IPv4Address(one) for one in named if not IPv4Address(one).is_loopback)
        if usable:
            return usable
    return ()
