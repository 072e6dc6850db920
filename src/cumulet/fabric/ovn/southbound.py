"""Asking OVN's southbound database, where its hosts report, by OVN's own programs: seldom enough to keep no replica of it."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import Final

from cumulet.fabric import Chassis, FabricError, FabricUnreachable

ANSWER_SECONDS: Final = 10


@dataclass(frozen=True, slots=True)
class Way:
    """Where OVN's northbound database is, as OVSDB writes it: unix:/run/ovn/ovnnb_db.sock, or ssl:HOST:6641 and more with commas."""

    northbound: str
    tls: tuple[str, str, str] | None = None
    """Files by which whoever asks by TLS proves who they are: key, certificate and whom to believe."""

    @property
    def southbound(self) -> str:
        """Where the southbound one is: beside it, as OVN's own scripts have it.

        unix:DIRECTORY/ovnnb_db.sock → unix:DIRECTORY/ovnsb_db.sock, ssl:HOST:6641 → ssl:HOST:6642; each of several.
        """
        return ",".join(
            re.sub(r"nb(?=[^/]*$)", "sb", remote)
            if remote.startswith("unix:")
            else re.sub(r":6641$", ":6642", remote)
            for remote in self.northbound.split(",")
        )


def list_chassis(way: Way) -> tuple[Chassis, ...]:
    """All chassis by their names; FabricUnreachable when the database does not answer."""
    columns = "--columns=name,hostname,other_config"
    listed = json.loads(ask(way, "ovn-sbctl", "--format=json", columns, "list", "Chassis"))["data"]
    return tuple(sorted((read_chassis(*row) for row in listed), key=lambda chassis: chassis.name))


def read_chassis(name: str, host: str, config: tuple[str, list[tuple[str, str]]]) -> Chassis:
    """Read a chassis' row; its mappings are written as NETWORK:BRIDGE with commas between."""
    mappings = dict(config[1]).get("ovn-bridge-mappings", "")
    networks = (mapping.partition(":")[0] for mapping in mappings.split(",") if mapping)
    return Chassis(name, host, frozenset(networks))


def ask(way: Way, program: str, *arguments: str) -> str:
    """What a program of OVN's tells about the southbound database."""
    tls = zip(("--private-key", "--certificate", "--ca-cert"), way.tls or (), strict=False)
    command = (program, f"--db={way.southbound}", *(f"{name}={file}" for name, file in tls), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_SECONDS)
    except FileNotFoundError as absence:
        raise FabricError(f"{program} is not installed here") from absence
    except subprocess.TimeoutExpired as silence:
        raise FabricUnreachable(
            f"OVN's database {way.southbound} gave no answer in {ANSWER_SECONDS} s"
        ) from silence
    if done.returncode:
        raise FabricError(f"{program} failed: {done.stderr.strip()}")
    return done.stdout
