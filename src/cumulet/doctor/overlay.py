"""The host's place in the network between hosts: where OVN's databases are, where tunnels end, and what proves who it is.

OVN's southbound database is on the server's machine and tells all hosts what packets do. It listens to them by TLS
alone: each host has made a key of its own, which never leaves it, and a certificate for its name in OVN, by which
the database lets it change what is its own. What was noted here holds over a restart of the host.
"""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from cumulet.doctor.command import CommandFailed, output_of

FOLDER: Final = Path("/etc/openvswitch")
NOTED: Final = "cumulet-overlay.json"
KEY, CERTIFICATE, AUTHORITY = "cumulet-overlay.key", "cumulet-overlay.pem", "cumulet-overlay-authority.pem"
SOUTHBOUND_PORT: Final = 6642
"""Where a southbound database listens to hosts, as OVN's own scripts have it."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """A host's place in the network between hosts."""

    address: str
    """Its own, where the other hosts' tunnels end, unless its operator set another one in Open vSwitch."""
    southbound: str = ""
    """Where OVN's southbound database is (ssl:ADDRESS:PORT, several with commas); `""` for on this host."""


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
    return overlay is None or not overlay.southbound


def find_address(peer: str) -> str:
    """The address by which this host reaches another one (a name or an address), and is reached by it."""
    try:
        known = socket.gethostbyname(peer)
    except OSError as problem:
        raise CommandFailed(f"{peer}: {problem.strerror}") from problem
    routes: list[dict[str, Any]] = msgspec.json.decode(output_of("ip", "-json", "route", "get", known))
    return str(routes[0]["prefsrc"])


def request_certificate(name: str, folder: Path = FOLDER) -> str:
    """Ask (PEM) for a certificate for this host's name in OVN, with a key that is made once and stays here."""
    key = folder / KEY
    if not key.exists():
        draft = key.with_suffix(".new")
        curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        output_of("openssl", "genpkey", *curve, "-out", str(draft))  # for its owner's eyes alone
        draft.replace(key)
    return output_of("openssl", "req", "-new", "-key", str(key), "-subj", f"/CN={name}")


def take_certificate(certificate: str, authority: str, folder: Path = FOLDER) -> None:
    """Keep the certificate (PEM) that was given for the request, and whose certificates to believe."""
    replace_file(folder / CERTIFICATE, certificate.encode())
    replace_file(folder / AUTHORITY, authority.encode())


def tls_files(folder: Path = FOLDER) -> tuple[str, str, str]:
    """Key, certificate and authority, as `set-ssl` of OVS's and OVN's programs takes them."""
    return str(folder / KEY), str(folder / CERTIFICATE), str(folder / AUTHORITY)


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in the place of another, so that nobody reads half of it."""
    draft = path.with_suffix(f"{path.suffix}.new")
    draft.write_bytes(content)
    draft.replace(path)
