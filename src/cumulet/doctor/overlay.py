"""The host's place in the network between hosts: where OVN's databases are, where tunnels end, and what proves who it is.

OVN's southbound database tells all hosts what packets do. It listens to them by TLS alone: each host has made a key
of its own, which never leaves it, and a certificate for its name in OVN, by which the database lets it change what is
its own. Hosts with OVN's databases have a second key, whose certificate another authority signs: what they say to
hosts, to servers and to each other no other host can say. What was noted here holds over a restart of the host.
"""

from __future__ import annotations

import contextlib
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from cumulet.doctor.command import CommandFailed, output_of

FOLDER: Final = Path("/etc/openvswitch")
NOTED: Final = "cumulet-overlay.json"
NORTHBOUND_PORT, SOUTHBOUND_PORT = 6641, 6642
"""Where the databases listen to servers, and to hosts, as OVN's own scripts have it."""
NORTHD_PORT: Final = 16642
"""Where the southbound one of several listens to northd, which may change all that is in it."""


class Proof(StrEnum):
    """What a key of the host's proves; also how its files are called."""

    HOST = "overlay"
    """Which host it is."""
    CENTRAL = "central"
    """That it has OVN's databases."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The files (PEM) of one proof."""

    key: Path
    certificate: Path
    believed: Path
    """The authorities of those whose answers it believes."""
    heard: Path
    """The authorities of those whom its southbound database hears."""

    @property
    def tls(self) -> tuple[str, str, str]:
        """Key, certificate and authorities, as `set-ssl` of OVS's and OVN's programs takes them."""
        return str(self.key), str(self.certificate), str(self.believed)


@dataclass(frozen=True, slots=True)
class Certified:
    """What a host has of one proof."""

    until: datetime
    """When its certificate ends."""
    believed: str
    """The authorities (PEM) that it believes."""
    heard: str = ""
    """Those (PEM) that its southbound database hears."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A host's place in the network between hosts."""

    address: str
    """Its own, where the other hosts' tunnels end, unless its operator set another one in Open vSwitch."""
    southbound: str = ""
    """Where OVN's southbound database is (ssl:ADDRESS:PORT, several with commas); `""` for on this host alone."""
    members: tuple[str, ...] = ()
    """The addresses of those hosts that have OVN's databases together, on each of them; () on all others."""


def read_overlay(folder: Path = FOLDER) -> Overlay | None:
    """The place that was noted; None on a host that is alone."""
    with contextlib.suppress(FileNotFoundError):
        return msgspec.json.decode((folder / NOTED).read_bytes(), type=Overlay)
    return None


def note_overlay(overlay: Overlay, folder: Path = FOLDER) -> None:
    """Note a place; whoever prepares the host next takes it there."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / NOTED, msgspec.json.encode(overlay))


def is_central(overlay: Overlay | None) -> bool:
    """Whether OVN's databases are on this host."""
    return overlay is None or not overlay.southbound or bool(overlay.members)


def find_address(peer: str) -> str:
    """The address by which this host reaches another one (a name or an address), and is reached by it."""
    try:
        known = socket.gethostbyname(peer)
    except OSError as problem:
        raise CommandFailed(f"{peer}: {problem.strerror}") from problem
    routes: list[dict[str, Any]] = msgspec.json.decode(output_of("ip", "-json", "route", "get", known))
    return str(routes[0]["prefsrc"])


def identity(proof: Proof, folder: Path = FOLDER) -> Identity:
    """Say where the files of a proof are."""
    name = folder / f"cumulet-{proof}"
    ends = (".key", ".pem", "-authority.pem", "-heard.pem")
    return Identity(*(name.with_name(name.name + end) for end in ends))


def request_certificate(name: str, proof: Proof, folder: Path = FOLDER) -> str:
    """Ask (PEM) for a certificate for this host's name in OVN, with a key that is made once and stays here."""
    key = identity(proof, folder).key
    if not key.exists():
        draft = key.with_suffix(".new")
        curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        output_of("openssl", "genpkey", *curve, "-out", str(draft))  # for its owner's eyes alone
        draft.replace(key)
    return output_of("openssl", "req", "-new", "-key", str(key), "-subj", f"/CN={name}")


def take_certificate(
    proof: Proof, certificate: str, believed: str, heard: str = "", folder: Path = FOLDER
) -> None:
    """Keep the certificate (PEM) that was given for the request, and whom to believe and to hear."""
    files = identity(proof, folder)
    replace_file(files.believed, believed.encode())
    replace_file(files.heard, heard.encode())
    replace_file(files.certificate, certificate.encode())
    os.utime(
        files.key
    )  # OVS's programs look at a certificate anew only once its key has a new time, in this order


def read_certificate(proof: Proof, folder: Path = FOLDER) -> Certified | None:
    """Say what the host has of a proof; None when it has no certificate."""
    files = identity(proof, folder)
    with contextlib.suppress(FileNotFoundError):
        believed, heard = files.believed.read_text(), files.heard.read_text()
        said = output_of("openssl", "x509", "-noout", "-enddate", "-in", str(files.certificate))
        until = datetime.strptime(said.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)
        return Certified(until, believed, heard)
    return None


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in the place of another, so that nobody reads half of it."""
    draft = path.with_suffix(f"{path.suffix}.new")
    draft.write_bytes(content)
    draft.replace(path)
